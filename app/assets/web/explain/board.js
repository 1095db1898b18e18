// @ts-check
// The board at full width: with all options of its maps, and a way to Explore.

import { element } from '../dom.js';
import { BoardView } from '../explore/board.js';
import { OptionsPart } from './options.js';

/** @typedef {import('../explore/board.js').BoardHooks} BoardHooks */
/** @typedef {import('../explore/board.js').BoardQuestion} BoardQuestion */
/** @typedef {import('../explore/board.js').Choice} Choice */

export class FullBoard extends BoardView {
  /**
   * @param {HTMLElement} parent
   * @param {BoardHooks & { chosen: (choice: Choice) => void }} hooks
   */
  constructor(parent, hooks) {
    super(parent, hooks);
    this.chosen = hooks.chosen;
    // for those who go by headings: others see it
    this.body.prepend(element('h2', { class: 'kx-unseen', text: 'This looks like that' }));
    this.root.classList.add('kx-full');
    this.open.textContent = 'Open in Explore';
    this.open.title = 'The same picture on the map';
    this.remove.hidden = true; // the page always shows one
    this.contrast.method.parentElement?.remove(); // it is among the options
    this.options = new OptionsPart(this.maps.root, (part) => this.choose(part));
    this.maps.root.insertBefore(this.options.root, this.maps.about);
  }

  /** @param {BoardQuestion & { options: import('./options.js').Options }} question */
  update(question) {
    super.update(question);
    const { choice } = question;
    // the address says something else than what was chosen here: one went back
    if (this.board && choice && JSON.stringify(choice) !== JSON.stringify(this.choice)) super.choose(choice);
    this.options.update(question.options, this.choice);
  }

  /** @param {import('../explore/board_parts.js').Board} board */
  show(board) {
    super.show({ ...board, far: [] }); // there is no map here
  }

  /** @param {Partial<Choice>} part */
  choose(part) {
    super.choose(part);
    this.chosen(this.choice);
  }

  elsewhere() {
    if (!this.question) return null;
    const { picture, framing } = this.question;
    return { page: 'explore', query: { picture, ...(framing ? { framing } : {}) } };
  }

  destroy() {
    this.options.leave();
    super.destroy();
  }
}
