// Shows the picture of the execution in the page's path, with the capability behind its "#", anew every two seconds.
"use strict";

const EVERY = 2000; // ms
const picture = document.getElementById("picture");
const notice = document.getElementById("notice");
const execution = location.pathname.split("/").pop();
const key = location.hash.slice(1);

function show() {
  picture.src = `${execution}.svg?key=${encodeURIComponent(key)}&at=${Date.now()}`;
}

picture.addEventListener("load", () => {
  picture.hidden = false;
  picture.alt = `Progress of execution ${execution}`;
  notice.textContent = "";
  setTimeout(show, EVERY);
});
picture.addEventListener("error", () => {
  notice.textContent = "There is no such execution (they are kept for 48 hours), or the broker does not answer.";
  setTimeout(show, EVERY);
});
if (key) {
  show();
} else {
  notice.textContent = "The address is not whole: the part behind # is missing.";
}
