// @ts-check
// How Explore reaches what it shows: a server here; a notebook or a file have others.

/**
 * @typedef {object} Transport
 * @property {(address: string) => Promise<ArrayBuffer>} bytes what an address of the workspace has
 * @property {(address: string) => Promise<unknown>} json the same as JSON
 * @property {(address: string, body: Blob | string, name?: string) => Promise<ArrayBuffer>} send sends something; a
 *     refusal is an error with a sentence for people
 * @property {(address: string) => string} picture what an image takes as its source; "" for a picture that is not here
 */

/** @param {Response} answer */
async function checked(answer) {
  if (answer.ok) return answer;
  const text = answer.headers.get('content-type')?.startsWith('text/plain') ? (await answer.text()).trim() : '';
  throw new Error(text || `The server answered ${answer.status} ${answer.statusText}.`);
}

/**
 * @param {string} base where the workspace is, relative to the page
 * @returns {Transport}
 */
export function serverTransport(base) {
  const absolute = (/** @type {string} */ address) => new URL(address, document.baseURI);
  const get = async (/** @type {string} */ address) => checked(await fetch(absolute(base + address)));
  return {
    bytes: async (address) => (await get(address)).arrayBuffer(),
    json: async (address) => (await get(address)).json(),
    send: async (address, body, name = '') => {
      const headers = { 'KMEx-Upload': encodeURIComponent(name) };
      return (await checked(await fetch(absolute(base + address), { method: 'POST', body, headers }))).arrayBuffer();
    },
    picture: (address) => absolute(address).href,
  };
}
