// A Node program on a session of its own: krakenws as a child process, promises by id, events as they come.
//
//     node session.mjs [PAIR [QUOTES]] [-- OPTIONS OF krakenws session]
//
// Prints so many quotes, then has an order checked at the last bid; validate=true places nothing.
// Needs an API key (or: -- --sandbox). Exit code: 0 accepted, 5 refused, 6 unknown, 4 the session is gone.

import { spawn } from "node:child_process";
import { createInterface } from "node:readline";

class Session {
  #child;
  #open = new Map(); // who waits for an answer, by id
  #last = 0;
  #gone; // the error that everything ends with, once the process has ended

  constructor(options, onEvent) {
    this.#child = spawn("krakenws", ["session", "--quiet", ...options], { stdio: ["pipe", "pipe", "inherit"] });
    this.#child.stdin.on("error", () => {}); // EPIPE: the end of the process says more
    createInterface({ input: this.#child.stdout }).on("line", (line) => {
      const event = JSON.parse(line); // prices are strings: no digit is lost
      const asked = this.#open.get(event.id);
      this.#open.delete(event.id); // `subscribed` comes again after each reconnect: then it is an event
      (asked?.resolve ?? onEvent)(event);
    });
    this.ended = new Promise((resolve) => {
      this.#child.on("error", (error) => resolve(error.message)); // there is no such program
      this.#child.on("close", (code, signal) => resolve(signal ?? `exit code ${code}`)); // and all was read
    }).then((how) => {
      this.#gone = new Error(`the session is gone: ${how}`);
      for (const { reject } of this.#open.values()) reject(this.#gone);
      throw this.#gone;
    });
    this.ended.catch(() => {}); // it may end while nobody waits
  }

  // Resolves with the answer: subscribed, refused, reply, unanswered or error; rejects when the session ends.
  ask(request) {
    if (this.#gone) return Promise.reject(this.#gone);
    const id = ++this.#last;
    this.#child.stdin.write(`${JSON.stringify({ ...request, id })}\n`);
    return new Promise((resolve, reject) => this.#open.set(id, { resolve, reject }));
  }

  close() {
    this.#child.stdin.end(); // open answers still come
    return this.ended.catch(() => {});
  }
}

const rest = process.argv.slice(2);
const at = rest.indexOf("--");
const [pair = "XBT/USD", quotes = "5"] = at < 0 ? rest : rest.slice(0, at);
let left = Number(quotes);
let seen; // settles `price` with the last of the quotes
const price = new Promise((resolve) => (seen = resolve));
const session = new Session(at < 0 ? [] : rest.slice(at + 1), ({ event, data, cause, message }) => {
  if (event === "gap" || event === "disconnected") console.error(`no quote until the next line: ${cause}`);
  if (event === "error") console.error(message), session.close();
  if (event !== "update" || left <= 0) return;
  for (const { bid, ask } of data) console.log(pair, bid, ask);
  if (--left === 0) seen(data.at(-1).bid);
});
process.exitCode = 4;
try {
  let answer = await session.ask({ do: "spread", pair: [pair] });
  if (answer.event === "subscribed") {
    const order = { pair, type: "buy", ordertype: "limit", volume: "0.01", validate: "true" };
    order.price = await Promise.race([price, session.ended]);
    process.exitCode = 6; // from here on the order may have left
    answer = await session.ask({ do: "addOrder", ...order });
  }
  const { outcome, result, error, message, hint, code } = answer;
  process.exitCode = outcome === "accepted" ? 0 : outcome === "unknown" ? 6 : (code ?? 5);
  console.log(outcome ?? answer.event, result?.descr ?? error ?? message ?? hint);
} catch (error) {
  console.error(error.message + (process.exitCode === 6 ? "; krakenws reconcile tells whether the order stands" : ""));
}
await session.close();
