// @ts-check
// How Explore reaches what it shows in a file: everything is in it, by address. No DOM.

/**
 * @param {Record<string, string>} files as base64, by their address in the workspace
 * @param {Record<string, string>} thumbnails as data: addresses, by name
 * @returns {import('../explore/transport.js').Transport}
 */
export function embeddedTransport(files, thumbnails) {
  const bytes = async (/** @type {string} */ address) => {
    if (!Object.hasOwn(files, address)) throw new Error('This file does not have it.');
    return Uint8Array.from(atob(files[address]), (letter) => letter.charCodeAt(0)).buffer;
  };
  return {
    bytes,
    json: async (address) => JSON.parse(new TextDecoder().decode(await bytes(address))),
    send: async () => {
      throw new Error('A file takes nothing.');
    },
    picture: (address) => (Object.hasOwn(thumbnails, address) ? thumbnails[address] : ''),
  };
}
