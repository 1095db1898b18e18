// @ts-check
// The page Explain below its choice of an image: the board, and the field that takes pictures.

import { element, reasonOf } from '../dom.js';
import { DropZone, sendPicture } from '../explore/drop.js';
import { FullBoard } from './board.js';

/**
 * What the address says of the picture.
 *
 * @typedef {object} ExplainAddress
 * @property {string} picture a digest, `test-3`, `train-5`; "" for none yet
 * @property {string} framing
 * @property {string} rival the name of a class; "" for the nearest
 * @property {string} method of relevance; "" for the usual one
 * @property {string} target what maps explain; "" for the usual one
 *
 * @typedef {object} ExplainPlaces
 * @property {string} base where the workspace is
 * @property {string} source of the prototypes
 * @property {string} key of the prototypes in the store
 * @property {ExplainAddress} address
 * @property {boolean} upload whether the picture is to come from outside
 * @property {string} formats what it may be
 * @property {import('./options.js').Options} options
 * @property {number} turn how often the page has told of a change
 *
 * @typedef {import('../explore/board_parts.js').BoardData & ExplainPlaces} ExplainData
 *
 * @typedef {object} Hooks
 * @property {(told: ExplainAddress & { turn: number }) => void} tell Python of a new address
 * @property {(target: { page: string, query: Record<string, string> }) => void} open another page
 */

export class ExplainPage {
  /** @param {import('../explore/transport.js').Transport} transport */
  constructor(transport) {
    this.transport = transport;
    /** @type {ExplainData | null} */
    this.data = null;
    /** @type {Hooks | null} */
    this.hooks = null;
    /** @type {ExplainAddress | null} */
    this.address = null;
    this.turn = 0; // of what Python was told
    this.root = element('div', { class: 'kx-explain' });
    this.drop = new DropZone(this.root, {
      picked: (file) => void this.send(file),
      error: (message) => this.board.tell(message),
    });
    this.field = element('div', { class: 'kx-picture-field' }, this.root);
    this.field.append(this.drop.button);
    this.formats = element('p', {}, this.field);
    this.board = new FullBoard(this.root, {
      transport,
      change: ({ picture, framing, point }) => {
        if (point) this.hooks?.open({ page: 'explore', query: { point } });
        else this.change({ ...(picture ? { picture } : {}), framing: framing ?? '' });
      },
      open: (target) => this.hooks?.open(target),
      placed: () => undefined, // there is no map here
      chosen: ({ rival, method, target }) => {
        const classes = this.data?.model.classes ?? [];
        this.change({ rival: rival === null ? '' : classes[rival], method, target });
      },
    });
  }

  /**
   * Shows what Python gives, unless something was chosen here since.
   *
   * @param {ExplainData} data
   * @param {Hooks} hooks
   */
  update(data, hooks) {
    if (this.data === null || data.turn === this.turn || this.address === null) {
      this.turn = data.turn;
      this.address = data.address;
    }
    this.data = data;
    this.hooks = hooks;
    this.draw();
  }

  draw() {
    const { data, address } = this;
    if (!data || !address) return;
    const { picture, framing, rival, method, target } = address;
    this.field.hidden = !data.upload;
    this.field.classList.toggle('kx-empty', picture === '');
    this.formats.textContent = picture === '' ? data.formats : '';
    const label = data.model.classes.indexOf(rival);
    const choice = { rival: label < 0 ? null : label, method, target };
    const { source, key: sourceKey, options } = data;
    this.board.update({ data, sourceKey, source, picture, framing, choice, options });
  }

  /** @param {Partial<ExplainAddress>} part */
  change(part) {
    if (!this.address) return;
    this.address = { ...this.address, ...part };
    this.turn += 1;
    this.hooks?.tell({ ...this.address, turn: this.turn });
    this.draw();
  }

  /** @param {File} file */
  async send(file) {
    this.board.tell(`Sending '${file.name}' …`);
    try {
      const { picture } = await sendPicture(this.transport, file);
      this.board.tell('');
      this.change({ picture, framing: '' });
    } catch (error) {
      this.board.tell(reasonOf(error));
    }
  }

  destroy() {
    this.drop.destroy();
    this.board.destroy();
    this.root.remove();
  }
}
