// @ts-check
// The board: a picture, what it is taken for, the prototypes that it looks like, and why. It fills in as answers come,
// and never shows one of an older question.

import { element } from '../dom.js';
import { FramingTools } from './board_framing.js';
import { ContrastPart, MapsPart } from './board_maps.js';
import { likenesses, probabilities, say, tile, verdict } from './board_parts.js';
import { sendPicture } from './drop.js';
import { prototypePoint } from './state.js';

/** @typedef {import('./board_parts.js').Board} Board */
/** @typedef {import('./board_parts.js').WorkspaceData} WorkspaceData */
/** @typedef {import('./board_maps.js').Judged} Judged */
/** @typedef {import('./columns.js').Layer} Layer */

/**
 * @typedef {object} BoardHooks
 * @property {import('./transport.js').Transport} transport
 * @property {(part: Partial<import('./state.js').Address>) => void} change
 * @property {(target: { page: string, query: Record<string, string> }) => void} open
 * @property {(picture: { place: [number, number], url: string, lines: number[] } | null) => void} placed where the
 *     picture is on the map; null for nowhere
 *
 * @typedef {object} BoardQuestion
 * @property {WorkspaceData} data
 * @property {Layer} layer of the source
 * @property {string} sourceKey of the prototypes in the store
 * @property {string} source
 * @property {string} picture "" for none
 * @property {string} framing
 */

const REST = 180; // milliseconds that the prototypes stay the same before they are asked about: the timeline is dragged

/** @param {unknown} error */
const sentence = (error) => (error instanceof Error ? error.message : String(error));

export class BoardView {
  /**
   * @param {HTMLElement} parent
   * @param {BoardHooks} hooks
   */
  constructor(parent, hooks) {
    this.hooks = hooks;
    /** @type {BoardQuestion | null} */
    this.question = null;
    this.asked = ''; // what names the question
    this.turn = 0; // of questions: answers of an older one are not shown
    this.contrastTurn = 0; // the same for maps, which the choice of a rival or a method asks for anew
    this.mapsTurn = 0;
    this.sending = false; // whether a picture is on its way to the server
    this.resting = 0;
    /** @type {Board | null} */
    this.board = null;
    /** @type {number | null} */
    this.rival = null; // null: the nearest
    this.method = ''; // "": the usual one
    this.root = element('section', { class: 'kx-board', 'aria-label': 'This looks like that', hidden: '' }, parent);
    this.message = element('p', { class: 'kx-board-status', role: 'status' }, this.root);
    this.status = element('p', { class: 'kx-board-status', role: 'status' }, this.root);
    this.body = element('div', { class: 'kx-board-body' }, this.root);
    this.verdict = element('div', { role: 'status' }, this.body);
    const likeness = element('div', { class: 'kx-likeness' }, this.body);
    this.seen = element('div', { class: 'kx-seen' }, likeness);
    this.picture = element('div', {}, this.seen);
    element('span', { class: 'kx-like-sign', text: '≈', 'aria-label': 'looks like', role: 'img' }, likeness);
    this.likes = element('div', {}, likeness);
    this.framing = new FramingTools(this.seen, element('div', {}, this.body), (framing) => hooks.change({ framing }));
    this.usual = element('p', { class: 'kx-fine' }, this.body);
    this.contrast = new ContrastPart(this.body, {
      rival: (label) => this.choose({ rival: label }),
      method: (name) => this.choose({ method: name }),
    });
    const bars = element('section', {}, this.body);
    element('h3', { text: 'Probabilities' }, bars);
    this.bars = element('div', {}, bars);
    this.maps = new MapsPart(this.body);
    const foot = element('div', { class: 'kx-framing-bar' }, this.root);
    this.open = element('button', { type: 'button', class: 'kx-pill', text: 'Open in Explain' }, foot);
    this.remove = element('button', { type: 'button', class: 'kx-pill', text: 'Remove picture' }, foot);
    this.remove.addEventListener('click', () => this.takeAway());
    this.open.title = 'The same picture at full width, with all options';
    this.open.addEventListener('click', () => this.openExplain());
  }

  takeAway() {
    this.tell('');
    this.sending = false;
    this.overtake();
    this.hooks.change({ picture: '', framing: '' });
    if (!this.question?.picture) this.root.hidden = true; // there was only a message
  }

  /** @param {BoardQuestion} question */
  update(question) {
    const { data, layer, sourceKey, source, picture, framing } = question;
    const before = this.question;
    const asked = picture === '' ? '' : JSON.stringify([data.model.name, sourceKey, source, picture, framing]);
    this.question = question;
    this.open.hidden = !data.can.open;
    if (this.sending) return; // what is shown next is on its way
    if (asked === this.asked) {
      if (this.board && before?.layer !== layer) this.drawLikenesses();
      return;
    }
    this.asked = asked;
    this.overtake();
    this.rival = null;
    this.root.hidden = picture === '';
    const samePicture = before?.picture === picture && before.data.model.name === data.model.name;
    if (!samePicture) this.forget();
    if (picture === '') return;
    this.root.setAttribute('aria-busy', 'true');
    if (!samePicture) this.status.textContent = 'Looking at the picture …';
    const wait = samePicture && before?.source !== source ? REST : 0;
    this.resting = window.setTimeout(() => void this.ask(), wait);
  }

  /**
   * Sends a picture to the server, and asks about it.
   *
   * @param {File} file
   */
  async send(file) {
    this.overtake();
    const { turn } = this;
    this.sending = true;
    this.asked = '';
    this.forget();
    this.root.hidden = false;
    this.status.textContent = `Sending '${file.name}' …`;
    try {
      const { picture } = await sendPicture(this.hooks.transport, file);
      if (turn !== this.turn) return;
      this.sending = false;
      const { question } = this;
      this.hooks.change({ picture, framing: '' });
      // the same picture again changes nothing elsewhere
      if (this.asked === '' && question) this.update({ ...question, picture, framing: '' });
    } catch (error) {
      if (turn !== this.turn) return;
      this.sending = false;
      this.question = null;
      this.fail(sentence(error));
    }
  }

  /**
   * Says something about what was dropped; "" takes it back.
   *
   * @param {string} message
   */
  tell(message) {
    this.message.textContent = message;
    if (message) this.root.hidden = false;
  }

  /**
   * Says why there is no answer.
   *
   * @param {string} message
   */
  fail(message) {
    this.forget();
    this.root.hidden = false;
    this.root.removeAttribute('aria-busy');
    this.status.textContent = message;
  }

  /** Lets no answer be shown that is still on its way. */
  overtake() {
    this.turn += 1;
    this.contrastTurn += 1;
    this.mapsTurn += 1;
    clearTimeout(this.resting);
  }

  forget() {
    this.board = null;
    this.body.hidden = this.open.hidden = true;
    this.status.textContent = '';
    this.contrast.clear();
    this.maps.clear();
    this.hooks.placed(null);
  }

  /**
   * @param {string} kind
   * @param {Record<string, string>} [more]
   */
  address(kind, more = {}) {
    if (!this.question) return '';
    const { sourceKey, source, picture, framing } = this.question;
    const query = { source, picture, ...(framing ? { framing } : {}), ...more };
    return `${kind}/${sourceKey}.json?${new URLSearchParams(query)}`;
  }

  async ask() {
    const turn = this.turn;
    try {
      const board = /** @type {Board} */ (await this.hooks.transport.json(this.address('board')));
      if (turn !== this.turn) return;
      this.show(board);
    } catch (error) {
      if (turn === this.turn) this.fail(sentence(error));
      return;
    }
    void this.askContrast();
    void this.askMaps();
  }

  /** @param {Board} board */
  show(board) {
    this.board = board;
    this.root.removeAttribute('aria-busy');
    this.body.hidden = this.open.hidden = false;
    this.status.textContent = board.notes.join(' ');
    this.verdict.replaceChildren(verdict(board));
    this.picture.replaceChildren();
    const crisp = (this.question?.data.model.side ?? 0) <= 96;
    const [caption] = tile(board.seen, 'Your picture as the network sees it', crisp, this.picture).getElementsByTagName(
      'figcaption',
    );
    element('span', { class: 'kx-file', text: board.title, title: board.title }, caption);
    element('span', { text: 'as the network sees it' }, caption);
    this.framing.update(board.framing, board.whole);
    this.drawLikenesses();
    say(this.usual, board.usual);
    if (board.scale) this.usual.append(' The solid mark on a bar is the first, the dotted one the second.');
    if (this.question) this.bars.replaceChildren(probabilities(board, this.question.data.model));
    this.hooks.placed(board.place && { place: board.place, url: board.seen, lines: board.lines });
  }

  drawLikenesses() {
    const { board, question } = this;
    if (!board || !question) return;
    const { data, layer } = question;
    const source = (/** @type {string} */ address) => this.hooks.transport.picture(address);
    const pick = (/** @type {number} */ p) => this.hooks.change({ point: prototypePoint(layer, p) });
    this.likes.replaceChildren(likenesses(board, data, layer, source, pick));
  }

  /** @param {{ rival?: number, method?: string }} part */
  choose(part) {
    this.rival = part.rival ?? this.rival;
    this.method = part.method ?? this.method;
    void this.askContrast();
    if (part.method !== undefined) void this.askMaps();
  }

  /** The method that maps are made by: the chosen one, if there is such a one for this model. */
  get methodNow() {
    const { board } = this;
    return board?.methods.some(([name]) => name === this.method) ? this.method : (board?.method ?? '');
  }

  async askContrast() {
    const { board, question } = this;
    if (!board || !question) return;
    const { model } = question.data;
    const query = { rival: String(this.rival ?? board.rivals[0]), method: this.methodNow };
    this.contrast.ask(board, model, { rival: Number(query.rival), method: query.method });
    if (board.rivals.length === 0) return;
    const turn = ++this.contrastTurn;
    try {
      const found = await this.hooks.transport.json(this.address('contrast', query));
      if (turn !== this.contrastTurn) return;
      this.contrast.show(/** @type {import('./board_maps.js').Contrast} */ (found), model);
      const judged = await this.hooks.transport.json(this.address('verdicts', query));
      if (turn === this.contrastTurn) this.contrast.judge(/** @type {{ rows: Judged[] }} */ (judged).rows[0]);
    } catch (error) {
      if (turn === this.contrastTurn) this.contrast.fail(sentence(error));
    }
  }

  async askMaps() {
    const { question } = this;
    if (!question) return;
    const query = { method: this.methodNow };
    const turn = ++this.mapsTurn;
    this.maps.ask();
    try {
      const found = await this.hooks.transport.json(this.address('maps', query));
      if (turn !== this.mapsTurn) return;
      this.maps.show(/** @type {import('./board_maps.js').Maps} */ (found), question.data.model, question.layer);
      const judged = await this.hooks.transport.json(this.address('verdicts', query));
      if (turn === this.mapsTurn) this.maps.judge(/** @type {{ rows: Judged[] }} */ (judged).rows);
    } catch (error) {
      if (turn === this.mapsTurn) this.maps.fail(sentence(error));
    }
  }

  openExplain() {
    const { board, question } = this;
    if (!board || !question) return;
    const { picture, framing, data } = question;
    const method = board.methods.find(([name]) => name === this.method)?.[1];
    this.hooks.open({
      page: 'explain',
      query: {
        picture,
        ...(framing ? { framing } : {}),
        ...(method ? { method } : {}),
        ...(this.rival === null ? {} : { rival: data.model.classes[this.rival] }),
      },
    });
  }

  destroy() {
    this.overtake();
    this.forget();
    this.root.remove();
  }
}
