/** The gateway, asked with the key that was typed. */

import { key } from "./key.js";

/** Why the gateway gave no answer, in its own words. */
export class Refusal extends Error {
  /**
   * @param {number} status 0 where nobody answered
   * @param {string} type the gateway's stable word
   * @param {string} message
   * @param {string} requestId
   */
  constructor(status, type, message, requestId = "") {
    super(message);
    this.status = status;
    this.type = type;
    this.requestId = requestId;
  }

  /** Whether another key would help. */
  get wantsKey() {
    return this.status === 401 || this.status === 403;
  }
}

/** @returns {string} the gateway's address, with a slash at its end: the page may lie below a proxy's prefix */
export function base() {
  return new URL(".", document.baseURI.split(/[?#]/)[0]).href;
}

/**
 * @param {string} path without a slash at its beginning
 * @param {RequestInit} [init]
 * @returns {Promise<{reply: Response, body: any}>} raises Refusal, or AbortError
 */
export async function ask(path, init = {}) {
  const headers = new Headers(init.headers);
  try {
    if (key()) headers.set("Authorization", `Bearer ${key()}`);
  } catch {
    throw new Refusal(401, "unauthorized", "The key has characters that no key has.");
  }
  const reply = await answered(new URL(path, base()), { ...init, headers, credentials: "omit" });
  const text = await reply.text();
  const body = parsed(text);
  if (!reply.ok || body === undefined) throw refused(reply, body);
  return { reply, body };
}

async function answered(url, init) {
  try {
    return await fetch(url, init);
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new Refusal(
      0,
      "unreachable",
      "The gateway does not answer. It may be restarting, or the connection is gone.",
    );
  }
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function refused(reply, body) {
  const id = reply.headers.get("X-Request-Id") ?? "";
  const error = body?.error;
  if (typeof error === "string") return new Refusal(reply.status, body.type ?? "", error, id);
  if (error) return new Refusal(reply.status, error.code ?? error.type ?? "", error.message, id);
  return new Refusal(reply.status, "not-the-gateway", `Something before the gateway answered ${reply.status}.`, id);
}
