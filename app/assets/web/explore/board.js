// @ts-check
// The board: a picture, what it is taken for, the prototypes that it looks like, and why. It fills in as answers come,
// and never shows one of an older question.

import { element, reasonOf } from '../dom.js';
import { FramingTools } from './board_framing.js';
import { ContrastPart, MapsPart } from './board_maps.js';
import { likenesses, probabilities, say, tile, verdict } from './board_parts.js';
import { sendPicture } from './drop.js';

/** @typedef {import('./board_parts.js').Board} Board */
/** @typedef {import('./board_parts.js').BoardData} BoardData */
/** @typedef {import('./board_parts.js').Prototype} Prototype */
/** @typedef {import('./board_maps.js').Judged} Judged */

/**
 * @typedef {object} BoardHooks
 * @property {import('./transport.js').Transport} transport
 * @property {(part: Partial<import('./state.js').Address>) => void} change
 * @property {(target: { page: string, query: Record<string, string> }) => void} open
 * @property {(picture: { place: [number, number], url: string, lines: number[] } | null) => void} placed where the
 *     picture is on the map; null for nowhere
 *
 * @typedef {object} BoardQuestion
 * @property {BoardData} data
 * @property {string} sourceKey of the prototypes in the store
 * @property {string} source
 * @property {string} picture "" for none
 * @property {string} framing
 * @property {Partial<Choice>} [choice] what is chosen for it at first
 *
 * @typedef {object} Choice
 * @property {number | null} rival a class; null for the nearest
 * @property {string} method of relevance; "" for the usual one
 * @property {string} target what maps explain; "" for the usual one
 */

const REST = 180; // milliseconds that the prototypes stay the same before they are asked about: the timeline is dragged

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
    /** @type {Choice} */
    this.choice = { rival: null, method: '', target: '' };
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
    this.prepared = element('p', { class: 'kx-fine' }, this.body);
    this.usual = element('p', { class: 'kx-fine' }, this.body);
    this.contrast = new ContrastPart(this.body, {
      rival: (label) => this.choose({ rival: label }),
      method: (name) => this.choose({ method: name }),
      exemplar: (prototype) => this.exemplar(prototype),
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
    this.open.addEventListener('click', () => {
      const target = this.elsewhere();
      if (target) hooks.open(target);
    });
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
    const { data, sourceKey, source, picture, framing } = question;
    const before = this.question;
    const asked = picture === '' ? '' : JSON.stringify([data.model.name, sourceKey, source, picture, framing]);
    this.question = question;
    this.open.hidden = !data.can.open;
    if (this.sending) return; // what is shown next is on its way
    if (asked === this.asked) return;
    this.asked = asked;
    this.overtake();
    this.choice = { ...this.choice, rival: null, ...question.choice };
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
      this.fail(reasonOf(error));
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
      if (turn === this.turn) this.fail(reasonOf(error));
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
    say(this.prepared, [['Your picture: ', false], ...board.prepared]);
    say(this.usual, [...board.decides, [' ', false], ...board.usual]);
    if (board.scale) this.usual.append(' On the bars, the solid mark is usual, the dotted one is that of the 1%.');
    if (this.question) this.bars.replaceChildren(probabilities(board, this.question.data.model));
    this.hooks.placed(board.place && { place: board.place, url: board.seen, lines: board.lines });
  }

  /** @param {Prototype} prototype */
  exemplar({ image }) {
    return this.hooks.transport.picture(`${this.question?.data.pictures}train/${image}.png`);
  }

  drawLikenesses() {
    const { board, question } = this;
    if (!board || !question) return;
    const source = (/** @type {Prototype} */ prototype) => this.exemplar(prototype);
    const pick = (/** @type {{ place: string }} */ { place }) => this.hooks.change({ point: `prototype-${place}` });
    this.likes.replaceChildren(likenesses(board, question.data, source, pick));
  }

  /** @param {Partial<Choice>} part */
  choose(part) {
    this.choice = { ...this.choice, ...part };
    if (part.target === undefined) void this.askContrast();
    if (part.rival === undefined) void this.askMaps();
  }

  /** The method that maps are made by: the chosen one, if there is such a one for this model. */
  get methodNow() {
    const { board, choice } = this;
    return board?.methods.some(([name]) => name === choice.method) ? choice.method : (board?.method ?? '');
  }

  /** The class that the prediction is compared with: the chosen one, if it is another one with prototypes. */
  get rivalNow() {
    const { board, choice } = this;
    return choice.rival !== null && board?.rivals.includes(choice.rival) ? choice.rival : (board?.rivals[0] ?? -1);
  }

  async askContrast() {
    const { board, question } = this;
    if (!board || !question) return;
    const { model } = question.data;
    const query = { rival: String(this.rivalNow), method: this.methodNow };
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
      if (turn === this.contrastTurn) this.contrast.fail(reasonOf(error));
    }
  }

  async askMaps() {
    const { question } = this;
    if (!question) return;
    const { target } = this.choice;
    const query = { method: this.methodNow, ...(target ? { target } : {}) };
    const turn = ++this.mapsTurn;
    this.maps.ask();
    try {
      const found = await this.hooks.transport.json(this.address('maps', query));
      if (turn !== this.mapsTurn) return;
      this.maps.show(/** @type {import('./board_maps.js').Maps} */ (found), question.data.model);
      const judged = await this.hooks.transport.json(this.address('verdicts', query));
      if (turn === this.mapsTurn) this.maps.judge(/** @type {{ rows: Judged[] }} */ (judged).rows);
    } catch (error) {
      if (turn === this.mapsTurn) this.maps.fail(reasonOf(error));
    }
  }

  /** Where the same picture is shown, too. */
  elsewhere() {
    const { board, question, choice } = this;
    if (!board || !question) return null;
    const { picture, framing, data } = question;
    const method = board.methods.find(([name]) => name === choice.method)?.[1];
    return {
      page: 'explain',
      query: {
        picture,
        ...(framing ? { framing } : {}),
        ...(method ? { method } : {}),
        ...(choice.rival === null ? {} : { rival: data.model.classes[choice.rival] }),
      },
    };
  }

  destroy() {
    this.overtake();
    this.forget();
    this.root.remove();
  }
}
