// @ts-check
// How Explore reaches its workspace in a notebook: by messages to the kernel, whose answers have bytes with them.

/**
 * What a notebook gives a widget, as far as it is used here (anywidget's model).
 *
 * @typedef {object} Model
 * @property {(name: string) => unknown} get
 * @property {(name: string, value: unknown) => void} set
 * @property {() => void} save_changes
 * @property {(content: unknown, callbacks?: unknown, buffers?: ArrayBuffer[]) => void} send
 * @property {(event: string, listener: Listener) => void} on
 * @property {(event: string, listener: Listener) => void} off
 *
 * @typedef {(content: Reply, buffers: DataView[]) => void} Listener
 * @typedef {{ id: string, error?: string }} Reply
 * @typedef {{ resolve: (content: ArrayBuffer) => void, reject: (reason: Error) => void }} Waiting
 */

/** A picture that is on its way; what follows "#" is its address. */
const NOTHING = 'data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw==#';

export class Messages {
  /** @param {Model} model */
  constructor(model) {
    this.model = model;
    this.view = Math.random().toString(36).slice(2); // the same widget may be shown twice
    this.count = 0;
    /** @type {Map<string, Waiting>} */
    this.waiting = new Map();
    /** @type {Map<string, string>} */
    this.pictures = new Map(); // by address, as blob URLs
    /** @type {Listener} */
    this.listener = (reply, buffers) => this.receive(reply, buffers);
    model.on('msg:custom', this.listener);
  }

  /** @returns {import('../explore/transport.js').Transport} */
  get transport() {
    return {
      bytes: (address) => this.ask('GET', address),
      json: async (address) => JSON.parse(new TextDecoder().decode(await this.ask('GET', address))),
      send: async (address, body, name = '') => {
        const bytes = typeof body === 'string' ? new TextEncoder().encode(body).buffer : await body.arrayBuffer();
        return this.ask('POST', address, name, /** @type {ArrayBuffer} */ (bytes));
      },
      picture: (address) =>
        /^(data|blob):/.test(address) ? address : (this.pictures.get(address) ?? `${NOTHING}${address}`),
    };
  }

  /**
   * @param {'GET' | 'POST'} method
   * @param {string} address
   * @param {string} [name] of a file
   * @param {ArrayBuffer} [body]
   * @returns {Promise<ArrayBuffer>}
   */
  ask(method, address, name = '', body = undefined) {
    const id = `${this.view}-${(this.count += 1)}`;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject });
      this.model.send({ id, method, address, name }, undefined, body ? [body] : []);
    });
  }

  /**
   * @param {Reply} reply
   * @param {DataView[]} buffers
   */
  receive({ id, error }, buffers) {
    const waiting = this.waiting.get(id);
    if (!waiting) return; // another view's
    this.waiting.delete(id);
    if (error !== undefined) waiting.reject(new Error(error));
    else {
      const { buffer, byteOffset, byteLength } = buffers[0];
      // columns begin at multiples of 8 bytes, wherever the message had them
      waiting.resolve(/** @type {ArrayBuffer} */ (buffer.slice(byteOffset, byteOffset + byteLength)));
    }
  }

  /**
   * Fetches the pictures of elements below `root`, now and from now on.
   *
   * @param {HTMLElement} root
   * @returns {() => void} what stops it
   */
  fill(root) {
    const look = (/** @type {Node} */ node) => {
      if (node instanceof HTMLImageElement) void this.load(node);
      else if (node instanceof Element) for (const image of node.querySelectorAll('img')) void this.load(image);
    };
    const watcher = new MutationObserver((changes) => {
      for (const { type, target, addedNodes } of changes) {
        if (type === 'attributes') look(target);
        else addedNodes.forEach(look);
      }
    });
    watcher.observe(root, { subtree: true, childList: true, attributes: true, attributeFilter: ['src'] });
    look(root);
    return () => watcher.disconnect();
  }

  /** @param {HTMLImageElement} image */
  async load(image) {
    const source = image.getAttribute('src') ?? '';
    if (!source.startsWith(NOTHING)) return;
    const address = source.slice(NOTHING.length);
    const url = this.pictures.get(address) ?? (await this.fetched(address));
    if (url && image.getAttribute('src') === source) image.src = url;
  }

  /** @param {string} address */
  async fetched(address) {
    try {
      const content = await this.ask('GET', address);
      const known = this.pictures.get(address); // asked for twice
      const url = known ?? URL.createObjectURL(new Blob([content], { type: 'image/png' }));
      this.pictures.set(address, url);
      return url;
    } catch {
      return ''; // an image that is not there stays empty, as on a page
    }
  }

  destroy() {
    this.model.off('msg:custom', this.listener);
    for (const { reject } of this.waiting.values()) reject(new Error('The widget was closed.'));
    this.waiting.clear();
    for (const url of this.pictures.values()) URL.revokeObjectURL(url);
    this.pictures.clear();
  }
}
