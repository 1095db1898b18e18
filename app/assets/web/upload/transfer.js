// @ts-check
// Sends files to the server as one stream in parts; the protocol is in app/routes/uploads.py. Needs no DOM.

/**
 * @typedef {import('./collect.js').Entry} Entry
 * @typedef {object} Options
 * @property {string} url of the route
 * @property {number} part the most bytes that one request may have
 * @property {typeof fetch} [fetch]
 * @property {(milliseconds: number) => Promise<void>} [wait]
 * @property {() => number} [now] milliseconds
 */

const HEADERS = { 'KMEx-Upload': '1' };
const TRIES = 6;
const FIRST = 1 << 20;
const LEAST = 1 << 18;
const PATIENCE = 180_000; // milliseconds that one request may take

/** A refusal by the server, in its words. */
class Refused extends Error {
  /**
   * @param {string} message
   * @param {number} status
   */
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

export class Transfer {
  /**
   * @param {string} name of the folder or file
   * @param {Entry[]} entries
   * @param {Options} options
   */
  constructor(name, entries, options) {
    this.name = name;
    this.entries = entries;
    this.url = options.url;
    this.most = options.part;
    this.fetch = options.fetch ?? ((...given) => fetch(...given));
    this.wait = options.wait ?? ((time) => new Promise((resolve) => setTimeout(resolve, time)));
    this.now = options.now ?? (() => performance.now());
    /** Where each file begins in the stream, and where the last one ends. */
    this.starts = [0];
    for (const { file } of entries) this.starts.push(this.starts[this.starts.length - 1] + file.size);
    this.total = this.starts[entries.length];
    this.sent = 0;
    this.size = Math.min(FIRST, this.most);
    this.upload = '';
    this.stop = new AbortController();
    /** @type {() => void} called when something has changed */
    this.changed = () => {};
    /** A note while the connection is lost. */
    this.trouble = '';
    this.began = this.now();
  }

  /** How many files are sent to their end. */
  get files() {
    let low = 0;
    let high = this.entries.length;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.starts[middle] <= this.sent) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /** Seconds that are left at the speed so far; null while that is unknown. */
  get left() {
    const seconds = (this.now() - this.began) / 1000;
    return seconds > 2 && this.sent ? (seconds * (this.total - this.sent)) / this.sent : null;
  }

  /**
   * A piece of the stream.
   *
   * @param {number} start
   * @param {number} end
   */
  piece(start, end) {
    const parts = [];
    let index = this.entries.length ? this.indexAt(start) : 0;
    for (; index < this.entries.length && this.starts[index] < end; index++) {
      const from = Math.max(0, start - this.starts[index]);
      const to = Math.min(this.entries[index].file.size, end - this.starts[index]);
      if (from < to) parts.push(this.entries[index].file.slice(from, to));
    }
    return new Blob(parts, { type: 'application/octet-stream' });
  }

  /** @param {number} place in the stream */
  indexAt(place) {
    let low = 0;
    let high = this.entries.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.starts[middle] <= place) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /**
   * Sends everything.
   *
   * @returns {Promise<string>} the upload's name in the store
   */
  async run() {
    const files = this.entries.map(({ path, file }) => [path, file.size]);
    const list = new Blob([JSON.stringify({ name: this.name, files })], { type: 'application/json' });
    this.upload = (await this.post('', list)).upload;
    this.began = this.now();
    for (let failures = 0; ;) {
      try {
        if (failures) this.sent = (await this.post(`/${this.upload}`)).received;
        while (this.sent < this.total) {
          await this.sendPart();
          failures = 0;
          this.trouble = '';
          this.changed();
        }
        return (await this.post(`/${this.upload}/finish`)).name;
      } catch (error) {
        if (this.stop.signal.aborted || !isPassing(error) || ++failures >= TRIES) throw error;
        this.trouble = 'The connection was lost. Trying again …';
        this.changed();
        await this.wait(500 * 2 ** failures);
        if (this.stop.signal.aborted) throw error;
      }
    }
  }

  async sendPart() {
    const end = Math.min(this.total, this.sent + this.size);
    const began = this.now();
    try {
      this.sent = (await this.post(`/${this.upload}/${this.sent}`, this.piece(this.sent, end))).received;
    } catch (error) {
      // a proxy may take less in one request than the server does
      if (!(error instanceof Refused) || error.status !== 413 || this.size <= LEAST) throw error;
      this.size = this.most = Math.max(LEAST, this.size / 2);
      return;
    }
    const seconds = (this.now() - began) / 1000; // progress is seen every second or so
    if (seconds < 0.7) this.size = Math.min(this.most, this.size * 2);
    else if (seconds > 3) this.size = Math.max(LEAST, this.size / 2);
  }

  /**
   * @param {string} path
   * @param {Blob} [body]
   */
  async post(path, body) {
    const signal = AbortSignal.any([this.stop.signal, AbortSignal.timeout(PATIENCE)]);
    const answer = await this.fetch(this.url + path, { method: 'POST', headers: HEADERS, body, signal });
    if (answer.ok) return answer.json();
    const isText = answer.headers.get('content-type')?.startsWith('text/plain');
    const text = isText ? (await answer.text()).trim() : '';
    throw new Refused(text || `The server or a proxy before it refused this upload (${answer.status}).`, answer.status);
  }

  /** Stops, and lets the server remove what it has; also when the page is about to go. */
  cancel() {
    this.stop.abort();
    if (!this.upload) return;
    const request = { method: 'POST', headers: HEADERS, keepalive: true };
    this.fetch(`${this.url}/${this.upload}/cancel`, request).catch(() => {}); // the server clears it in time
  }
}

/**
 * Whether trying again may help: the connection was lost, the server is busy, or a part arrived twice.
 *
 * @param {unknown} error
 */
function isPassing(error) {
  return !(error instanceof Refused) || error.status === 409 || (error.status >= 500 && error.status !== 507);
}
