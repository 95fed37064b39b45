// A grader over Socket.IO, complete: it scores lists of numbers by their mean.
//
//     npm install socket.io-client
//     node grader.js http://127.0.0.1:5000 MyChallenge TOKEN

const { io } = require("socket.io-client");

const [url, challenge, token] = process.argv.slice(2);
const running = new Set();

const socket = io(`${url}/grader`, {
  auth: (send) =>
    send({
      grader_id: `grader-${process.pid}`,
      token,
      challenges: [challenge],
      slots: 2,
      running: [...running], // after a lost connection: these go on
    }),
});

async function tell(attempt_id, kind, data, message = "") {
  const event = { attempt_id, response_type: `CrowdAI.Event.Job.${kind}`, data, message };
  for (;;) {
    try {
      return (await socket.timeout(10000).emitWithAck("event", event)).status;
    } catch {
      // No answer: perhaps the connection is lost. What was stored already does no harm twice.
    }
  }
}

async function grade({ attempt_id, data }) {
  await tell(attempt_id, "RUNNING", {});
  if (!Array.isArray(data) || !data.length || !data.every(Number.isFinite)) {
    return tell(attempt_id, "ERROR", {}, "A list of numbers is needed, and it must not be empty.");
  }
  await tell(attempt_id, "PROGRESS_UPDATE", { percent_complete: 50 }, `${data.length} numbers read`);
  const score = data.reduce((sum, number) => sum + number) / data.length;
  return tell(attempt_id, "COMPLETE", { score, comment: "the mean" });
}

socket.on("job", async (job, taken) => {
  taken(); // within 20 s
  running.add(job.attempt_id);
  await grade(job);
  running.delete(job.attempt_id);
});
socket.on("connect", () => console.log("connected"));
socket.on("connect_error", (error) => {
  console.error(error.message);
  if (!socket.active) process.exit(1); // refused: trying again would not help
});
socket.on("dismissed", (why) => {
  console.error(why);
  process.exit(1);
});
