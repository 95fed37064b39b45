"""What to try next: lines to copy, with this demo's own addresses and key in them."""

from __future__ import annotations

from importlib.resources import files

from .world import EARLY, PARTICIPANT, PENGUINS, DemoWorld

_HINTS = """\
Everything goes on running; Ctrl-C ends it and leaves nothing behind.

  broker         {url}/readyz, {url}/metrics
  leaderboards   {webapp}/
  data           {data}
  participant    {name}, API key {key}

Better the sample predictions
-----------------------------
{data}/train.csv has what is known of 233 penguins; predict the species of those in
{data}/test.csv, write id,species for each to a file, and submit it with the first of the clients below.

With the PyPI client "crowdai"
------------------------------
  python -m venv crowdai-client && . crowdai-client/bin/activate
  pip install --no-deps crowdai socketIO-client-2
  pip install requests termcolor tqdm six websocket-client 'setuptools<81'
  python - <<'END'
import crowdai
crowdai.config['remote_host'] = '127.0.0.1'
crowdai.config['remote_port'] = {port}
crowdai.config['crowdai_remote_api'] = '{webapp}/api/external_graders/'
print(crowdai.Challenge('{penguins}', '{key}').submit('{data}/sample_predictions.csv'))
print(crowdai.Challenge('{early}', '{key}').submit([4000 + n for n in range(100)]))
END

With Python and python-socketio
-------------------------------
  pip install 'python-socketio[client]'
  python - <<'END'
import socketio
client = socketio.Client()
client.on('my-channel', print)
client.connect('{url}')
session = client.call('authenticate', {{
    'API_KEY': '{key}', 'challenge_id': '{early}', 'client_version': '1.0.22'}})
print(client.call('execute_function', {{
    'response_channel': 'my-channel', 'session_token': session['session_token'], 'api_key': '{key}',
    'challenge_id': '{early}', 'function_name': 'submit',
    'data': [[4000] * 100], 'dry_run': False, 'parallel': False}}, timeout=60))
client.disconnect()
END

With JavaScript and socket.io
-----------------------------
  npm install socket.io-client
  node - <<'END'
const socket = require('socket.io-client').io('{url}');
socket.on('my-channel', (event) => console.log(event));
socket.emit('authenticate', {{API_KEY: '{key}', challenge_id: '{early}',
                             client_version: '1.0.22'}}, (session) => {{
  socket.emit('execute_function', {{response_channel: 'my-channel', session_token: session.session_token,
    api_key: '{key}', challenge_id: '{early}', function_name: 'submit',
    data: [Array(100).fill(4000)], dry_run: false, parallel: false}}, (ends) => {{
    console.log(ends); socket.close();
  }});
}});
END
"""


def hints(world: DemoWorld) -> str:
    """Return the text for a world that runs."""
    return _HINTS.format(
        url=world.url,
        port=world.url.rpartition(":")[2],
        webapp=world.webapp.url,
        data=files(__package__) / "data",
        key=world.api_key,
        name=PARTICIPANT,
        penguins=PENGUINS,
        early=EARLY,
    )
