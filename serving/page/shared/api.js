// The HTTP interface. Every call either gives an answer or throws one of the two errors below.
import { access, anotherToken, bearer } from "./token.js";

/** The service answered that it will not; `findings` say why. status: HTTP status. */
class Refused extends Error {
  constructor(message, findings, status) {
    super(message);
    Object.assign(this, { findings, status });
  }
}

/** No answer came: the service is down, or the network is. */
export class Lost extends Error {}

export const connection = new EventTarget(); // "lost" and "found"

function lost() {
  connection.dispatchEvent(new Event("lost"));
  return new Lost("the service does not answer");
}

/** Whether an error only says that the person went elsewhere. */
export const isAbort = (error) => error?.name === "AbortError";

/** What `send()` gives; where the service asks for a token, once more with the one that the person gives: nothing that was typed is lost. */
async function admitted(send) {
  for (;;) {
    const used = bearer();
    try {
      const answered = await send();
      access.dispatchEvent(new Event("admitted"));
      return answered;
    } catch (error) {
      if (error.status !== 401 || !(await anotherToken(used))) throw error;
    }
  }
}

const answer = (path, options) => admitted(() => fetched(path, options));

async function fetched(path, options = {}) {
  let response;
  try {
    response = await fetch(path, { ...options, headers: { ...bearer(), ...options.headers } });
  } catch (error) {
    throw isAbort(error) ? error : (await unreadable(filesIn(options.body))) ?? lost();
  }
  const error = response.ok ? null : refusal(response.status, await response.text());
  if (!(error instanceof Lost)) connection.dispatchEvent(new Event("found"));
  if (error) throw error;
  return response;
}

/** The error in the body of a refusal; a proxy's own pages have none, and say by 502 to 504 that the service behind it is away. */
function refusal(status, text) {
  if (status === 401) return new Refused("this needs an access token", [], status); // how programs send one is not for a page
  try {
    const { error, findings } = JSON.parse(text);
    return new Refused(error ?? `the service answered ${status}`, findings ?? [], status);
  } catch {
    return status >= 502 && status <= 504 ? lost() : new Refused(`the service answered ${status}`, [], status);
  }
}

const filesIn = (form) => (form instanceof FormData ? [...form.values()].filter((value) => value instanceof File) : []);

/** The error of the first file that was changed or moved since it was chosen, which a browser reads and sends no more without saying why;
 * null where there is none. */
export async function unreadable(files) {
  for (const chosen of files) {
    try {
      await chosen.slice(0, 1).arrayBuffer();
    } catch {
      return new Refused(`the file ${chosen.name} was changed or moved since it was chosen; choose it again`, [], 0);
    }
  }
  return null;
}

const asJson = async (response) => {
  try {
    return await response.json();
  } catch (error) {
    throw isAbort(error) ? error : lost(); // the answer broke off
  }
};

/** GET JSON. */
export async function get(path, { signal } = {}) {
  return asJson(await answer(path, { signal }));
}

/** POST JSON (or a form), answered by JSON. */
export async function post(path, body, { signal } = {}) {
  const options = body instanceof FormData ? { body } : { body: JSON.stringify(body), headers: { "Content-Type": "application/json" } };
  return asJson(await answer(path, { method: "POST", signal, ...options }));
}

/** DELETE. */
export async function remove(path) {
  await answer(path, { method: "DELETE" });
}

/** GET a file, or the one that a posted form is answered by; it has the name that the service gives it, "" for none. */
export async function file(path, { form, signal } = {}) {
  const response = await answer(path, { signal, ...(form && { method: "POST", body: form }) });
  try {
    const blob = await response.blob();
    return new File([blob], nameOf(response.headers.get("content-disposition") ?? ""), { type: blob.type });
  } catch (error) {
    throw isAbort(error) ? error : lost();
  }
}

/** The name in a header Content-Disposition (RFC 6266). */
function nameOf(header) {
  const encoded = /filename\*=UTF-8''([^;]*)/.exec(header);
  return encoded ? decodeURIComponent(encoded[1]) : /filename="([^"]*)"/.exec(header)?.[1] ?? "";
}

/** POST a form and tell how much of it has gone: `onProgress(sent, total)` in bytes. sources: the files that those in it were packed of. */
export const upload = (path, form, options) => admitted(() => sent(path, form, options));

/** fetch() cannot tell how much has gone, so XMLHttpRequest. */
function sent(path, form, { onProgress, signal, sources = filesIn(form) }) {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const request = new XMLHttpRequest();
    request.open("POST", path);
    for (const [name, value] of Object.entries(bearer())) request.setRequestHeader(name, value);
    request.upload.addEventListener("progress", ({ loaded, total }) => onProgress(loaded, total));
    request.addEventListener("load", () => {
      if (request.status < 200 || request.status >= 300) {
        reject(refusal(request.status, request.responseText));
        return;
      }
      try {
        resolve(JSON.parse(request.responseText));
      } catch {
        reject(lost()); // something before the service answered
      }
    });
    request.addEventListener("error", async () => reject((await unreadable(sources)) ?? lost()));
    request.addEventListener("abort", () => reject(new DOMException("given up", "AbortError")));
    signal.addEventListener("abort", () => request.abort());
    request.send(form);
  });
}
