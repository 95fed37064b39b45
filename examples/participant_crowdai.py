"""A participant with the ``crowdai`` client 1.0.22 from PyPI, unchanged, pointed at a broker of one's own.

Install and run::

    pip install --no-deps crowdai socketIO-client-2
    pip install requests termcolor tqdm six websocket-client "setuptools<81"
    python participant_crowdai.py 127.0.0.1 5000 YOUR_API_KEY
"""

import sys

import crowdai

HOST, PORT, KEY = sys.argv[1:4]
crowdai.config["remote_host"] = HOST
crowdai.config["remote_port"] = int(PORT)

challenge = crowdai.Challenge("OpenSNPChallenge2017", KEY)
print(challenge.submit([4200.0] * 100))  # a body mass for each of 100 penguins
challenge.disconnect()
