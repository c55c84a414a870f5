// The task API of one user, behind Ownergate.

import { Refusal } from "./account.js";

/** The signed-in user's tasks. The user in every path is the user in the token: Ownergate lets nothing else through. */
export class Tasks {
  #base;
  #freshToken;
  #token;

  /**
   * @param {string} apiOrigin where the API is; "" for this page's own origin
   * @param {string} userId
   * @param {() => Promise<string>} freshToken asked for a JWT at first and again whenever one is refused
   */
  constructor(apiOrigin, userId, freshToken) {
    this.#base = new URL(`/api/${encodeURIComponent(userId)}/tasks`, apiOrigin || location.origin);
    this.#freshToken = freshToken;
  }

  /** One page of the list and the address of the next, if there is one. */
  async list(page = this.#base) {
    const response = await this.#send("GET", page);
    const [, next] = /<([^>]*)>\s*;[^,]*\brel="?next\b/.exec(response.headers.get("Link") ?? "") ?? [];
    return { tasks: await response.json(), next: next && new URL(next, page) };
  }

  create = (task) => this.#json("POST", this.#base, task);
  replace = (id, task) => this.#json("PUT", this.#at(id), task);
  complete = (id, completed) => this.#json("PATCH", this.#at(`${id}/complete`), { completed });
  delete = (id) => this.#send("DELETE", this.#at(id));

  #at(rest) {
    return new URL(`${this.#base}/${rest}`);
  }

  async #json(method, url, body) {
    return (await this.#send(method, url, body)).json();
  }

  /** Sends with the token at hand. A 401 most often means that it has expired: then once more with a new one. */
  async #send(method, url, body) {
    let response = this.#token && (await this.#attempt(method, url, body));
    if (!response || response.status === 401) {
      this.#token = await this.#freshToken();
      response = await this.#attempt(method, url, body);
    }
    if (!response.ok) throw await Refusal.of(response);
    return response;
  }

  #attempt(method, url, body) {
    const headers = { Authorization: `Bearer ${this.#token}` };
    if (body) headers["Content-Type"] = "application/json";
    return fetch(url, { method, headers, body: body && JSON.stringify(body), credentials: "omit" });
  }
}
