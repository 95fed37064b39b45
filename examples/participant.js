// A participant with the official JavaScript client, version 4, 3 or 2: submit, watch the events, print the result.
//
//     npm install socket.io-client        (for version 2: npm install socket.io-client@2)
//     node participant.js http://127.0.0.1:5000 OpenSNPChallenge2017 YOUR_API_KEY

const io = require("socket.io-client");

const [url, challenge, key] = process.argv.slice(2);
const channel = `${challenge}::${Math.random()}`;
const socket = io(url);

// A job event is one string of JSON.
socket.on(channel, (text) => {
  const event = JSON.parse(text);
  console.log(event.event_no, event.response_type, event.message, event.data);
});

socket.once("connect", () => {
  socket.emit("authenticate", { API_KEY: key, challenge_client_name: challenge }, (session) => {
    if (!session.session_token) {
      console.error(session.message);
      return socket.close();
    }
    const request = {
      response_channel: channel,
      session_token: session.session_token,
      api_key: key,
      challenge_client_name: challenge,
      function_name: "submit",
      data: [Array(100).fill(4200)], // one item, so one job: a body mass for each of 100 penguins
      parallel: false,
      dry_run: false,
    };
    socket.emit("execute_function", request, (jobs) => {
      jobs.forEach((job) => console.log(job.response_type, job.message, job.data));
      socket.close();
    });
  });
});
