// @ts-check
// The k timeline: a slider over the numbers of prototypes per class, with what each number gives drawn inside it.

import { element, say } from '../dom.js';
import {
  HEIGHT,
  WIDTH,
  arrow,
  bandPath,
  chanceWords,
  heightOf,
  keyedK,
  linePath,
  nearestK,
  perClass,
  placeOf,
  rangeEnd,
  valueText,
  valueWords,
} from './timeline_scale.js';

/** @typedef {import('./state.js').Timeline} Timeline */
/** @typedef {import('./state.js').Curve} Curve */

/**
 * @typedef {object} Hooks
 * @property {(k: number) => void} slide at each step, while the pointer or a key is down
 * @property {(k: number) => void} release when it is let go
 * @property {(target: { page: string, query: Record<string, string> }) => void} open another page
 */

const SVG = 'http://www.w3.org/2000/svg';
const MAJOR = 5; // of these ticks the number is always shown

/**
 * @param {string} tag
 * @param {Record<string, string>} attributes
 * @param {Element} parent
 */
function drawn(tag, attributes, parent) {
  const created = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) created.setAttribute(name, value);
  parent.append(created);
  return created;
}

export class TimelineView {
  /**
   * @param {HTMLElement} parent
   * @param {Hooks} hooks
   */
  constructor(parent, hooks) {
    this.hooks = hooks;
    /** @type {Timeline | null} */
    this.timeline = null;
    /** @type {number | null} */
    this.k = null;
    /** @type {Set<number>} */
    this.ready = new Set();
    this.held = false; // whether the pointer or a key moves it now
    /** @type {number | null} */
    this.from = null; // where it was when it was taken
    /** @type {Lane[]} */
    this.lanes = [];
    /** @type {Map<number, HTMLElement>} */
    this.ticks = new Map();

    this.root = element('div', { class: 'kx-timeline', role: 'group', 'aria-label': 'Prototypes per class' }, parent);
    this.grid = element('div', { class: 'kx-timeline-grid' }, this.root);
    this.now = element('div', { class: 'kx-timeline-now' }, this.grid);
    this.number = element('strong', {}, this.now);
    this.noun = element('span', { class: 'kx-timeline-long' }, this.now);
    element('span', { text: 'per class' }, this.now);
    this.seeds = element('small', { class: 'kx-timeline-seeds' }, this.now);
    this.brief = element('span', { class: 'kx-timeline-brief' }, this.now);
    this.take = element('button', { class: 'kx-timeline-take', type: 'button' }, this.now);
    this.slider = element('div', { class: 'kx-timeline-slider', role: 'slider', tabindex: '0' }, this.grid);
    this.slider.setAttribute('aria-label', 'Prototypes per class');
    this.scale = element('div', { class: 'kx-timeline-scale' }, this.slider);
    this.cursor = element('i', { class: 'kx-timeline-cursor' }, this.scale);
    this.mark = element('span', { class: 'kx-timeline-suggested', text: 'suggested' }, this.scale);
    this.track = element('div', { class: 'kx-timeline-track' }, this.scale);
    this.done = element('i', {}, this.track);
    this.thumb = element('b', { class: 'kx-timeline-thumb' }, this.scale);
    this.words = element('div', { class: 'kx-timeline-words' }, this.root);
    this.step = element('p', {}, this.words);
    this.why = element('p', {}, this.words);
    const reading = element('details', {}, this.words);
    element('summary', { text: 'How to read the curves' }, reading);
    this.about = element('p', {}, reading);
    this.page = element('button', { class: 'kx-pill', type: 'button', text: 'Evidence on each class' }, reading);
    this.page.addEventListener('click', () => this.hooks.open({ page: 'numbers', query: {} }));
    this.listen();
  }

  listen() {
    this.slider.addEventListener('pointerdown', (event) => this.press(event));
    this.slider.addEventListener('pointermove', (event) => this.held && this.moveTo(this.kAt(event)));
    for (const end of ['pointerup', 'pointercancel']) this.slider.addEventListener(end, () => this.letGo());
    this.slider.addEventListener('keydown', (event) => this.pressKey(event));
    for (const end of ['keyup', 'blur']) this.slider.addEventListener(end, () => this.letGo());
    this.take.addEventListener('click', () => {
      if (!this.timeline || this.timeline.suggested === null) return;
      this.hold();
      this.moveTo(this.timeline.suggested);
      this.letGo();
      this.slider.focus({ preventScroll: true }); // the button is gone now
    });
  }

  /**
   * @param {Timeline | null} timeline null hides it
   * @param {number | null} k null for a source that is not on it
   * @param {Set<number>} ready the numbers whose prototypes are here
   * @param {boolean} [canOpen] whether the page with the evidence can be opened
   */
  update(timeline, k, ready, canOpen = true) {
    this.page.hidden = !canOpen;
    this.root.hidden = !timeline;
    this.ready = ready;
    if (!timeline) return;
    if (timeline !== this.timeline) this.lay(timeline);
    if (!this.held) this.k = k;
    for (const [tick, label] of this.ticks) label.classList.toggle('kx-ready', ready.has(tick));
    this.show();
  }

  destroy() {
    this.root.remove();
  }

  /**
   * Draws what does not depend on the number that is chosen.
   *
   * @param {Timeline} timeline
   */
  lay(timeline) {
    this.timeline = timeline;
    for (const lane of this.lanes) lane.remove();
    this.lanes = timeline.curves.map((curve, row) => new Lane(this.grid, this.slider, curve, row, timeline));
    this.root.style.setProperty('--lanes', String(timeline.curves.length));
    for (const tick of this.ticks.values()) tick.remove();
    this.ticks.clear();
    for (const k of timeline.ks) {
      const major = k === timeline.ks[0] || k % MAJOR === 0;
      const tick = element(
        'span',
        { class: `kx-timeline-tick${major ? ' kx-major' : ''}`, text: String(k) },
        this.scale,
      );
      tick.style.left = `${100 * (placeOf(timeline.ks, k) ?? 0)}%`;
      this.ticks.set(k, tick);
    }
    this.root.classList.toggle('kx-many', timeline.ks.length > 24);
    this.slider.setAttribute('aria-valuemin', String(timeline.ks[0]));
    this.slider.setAttribute('aria-valuemax', String(timeline.ks[timeline.ks.length - 1]));
    const place = placeOf(timeline.ks, timeline.suggested);
    this.mark.hidden = place === null;
    this.mark.style.setProperty('--at', String(place ?? 0));
    this.mark.title = timeline.reason;
    say(this.seeds, timeline.seeds > 1 ? `lines: mean of ${timeline.seeds} seeds` : 'lines: one seed');
    const scaled = 'Each curve has a scale of its own, with its ends at the right; a grey band may be outside it.';
    say(this.about, `${timeline.about} ${scaled}`);
  }

  /** Shows the number that is chosen. */
  show() {
    const { timeline, k } = this;
    if (!timeline) return;
    const place = placeOf(timeline.ks, k);
    const i = k === null ? -1 : timeline.ks.indexOf(k);
    this.root.classList.toggle('kx-none', place === null);
    this.scale.style.setProperty('--at', String(place ?? 0));
    const waits = k !== null && place !== null && !this.ready.has(k);
    this.thumb.classList.toggle('kx-late', waits);
    this.slider.setAttribute('aria-busy', String(waits));
    if (k === null || place === null) {
      this.slider.setAttribute('aria-valuenow', String(timeline.ks[0]));
      this.slider.setAttribute('aria-valuetext', 'no single number of prototypes per class');
    } else {
      this.slider.setAttribute('aria-valuenow', String(k));
      this.slider.setAttribute('aria-valuetext', valueText(timeline, k));
    }
    say(this.thumb, place === null ? '' : String(k));
    say(this.number, k === null || place === null ? '–' : String(k));
    say(this.noun, k === 1 ? 'prototype ' : 'prototypes ');
    for (const lane of this.lanes) lane.show(i);
    this.sayWords(i);
  }

  /** @param {number} i the place of the chosen number among all, -1 for none */
  sayWords(i) {
    const { timeline } = this;
    if (!timeline) return;
    const { curves, ks, steps, suggested, reason } = timeline;
    const brief =
      i < 0 ? [] : curves.slice(0, 2).map((curve) => `${curve.name} ${arrow(curve)} ${valueWords(curve, ks, i)}`);
    say(this.brief, brief.join(' · '));
    const first = i === 0 ? 'One prototype per class: the mean of its images. More of them split it.' : '';
    say(
      this.step,
      i < 0
        ? 'These prototypes are not on the timeline: it has those of k-means with one k for all classes.'
        : steps[i] || first,
    );
    this.why.hidden = suggested === null;
    this.take.hidden = suggested === null || ks[i] === suggested;
    if (suggested === null) return;
    say(this.why, `Suggested: ${perClass(suggested)}. ${reason}`);
    say(this.take, `Go to the suggested ${suggested}`);
  }

  /** @param {PointerEvent} event */
  kAt(event) {
    const box = this.scale.getBoundingClientRect();
    return nearestK(this.timeline?.ks ?? [], (event.clientX - box.left) / (box.width || 1));
  }

  /** @param {PointerEvent} event */
  press(event) {
    if (event.button !== 0 || !this.timeline) return;
    event.preventDefault(); // no text is selected while it is dragged
    this.slider.focus({ preventScroll: true });
    this.slider.setPointerCapture(event.pointerId);
    this.hold();
    this.moveTo(this.kAt(event));
  }

  /** @param {KeyboardEvent} event */
  pressKey(event) {
    if (!this.timeline || event.ctrlKey || event.metaKey || event.altKey) return;
    const k = keyedK(this.timeline.ks, this.k, event.key);
    if (k === null) return;
    event.preventDefault();
    this.hold();
    this.moveTo(k);
  }

  hold() {
    if (!this.held) this.from = this.k;
    this.held = true;
  }

  /** @param {number} k */
  moveTo(k) {
    if (k === this.k) return;
    this.k = k;
    this.show();
    this.hooks.slide(k);
  }

  letGo() {
    if (!this.held) return;
    this.held = false;
    if (this.k !== null && this.k !== this.from) this.hooks.release(this.k);
  }
}

/** A curve: what it is at the left, the drawing, its range at the right. */
class Lane {
  /**
   * @param {HTMLElement} grid
   * @param {HTMLElement} slider
   * @param {Curve} curve
   * @param {number} row
   * @param {Timeline} timeline
   */
  constructor(grid, slider, curve, row, timeline) {
    this.curve = curve;
    this.ks = timeline.ks;
    const line = String(row + 1);
    this.label = element('div', { class: 'kx-lane-label', title: curve.about }, grid);
    this.label.style.gridRow = line;
    const title = element('span', { class: 'kx-lane-title', text: `${curve.title} ` }, this.label);
    const better = `${curve.better} is better`;
    element('span', { text: arrow(curve), role: 'img', 'aria-label': better, title: better }, title);
    this.value = element('strong', {}, this.label);
    this.chance = element('small', {}, this.label);
    this.plot = element('div', { class: 'kx-lane', 'aria-hidden': 'true' });
    this.plot.style.gridRow = line;
    grid.insertBefore(this.plot, slider);
    this.draw();
    const place = placeOf(timeline.ks, timeline.suggested);
    if (place !== null) element('i', { class: 'kx-lane-suggested' }, this.plot).style.left = `${100 * place}%`;
    this.dot = element('i', { class: 'kx-lane-dot' }, this.plot);
    this.range = element('div', { class: 'kx-lane-range', 'aria-hidden': 'true' }, grid);
    this.range.style.gridRow = line;
    for (const end of [curve.range[1], curve.range[0]]) element('small', { text: rangeEnd(curve, end) }, this.range);
  }

  draw() {
    const { values, low, high, chance, range } = this.curve;
    const box = { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none' };
    const picture = drawn('svg', box, this.plot);
    if (chance) drawn('path', { class: 'kx-lane-chance', d: bandPath(chance[0], chance[1], range) }, picture);
    drawn('path', { class: 'kx-lane-band', d: bandPath(low, high, range) }, picture);
    drawn('path', { class: 'kx-lane-line', d: linePath(values, range) }, picture);
  }

  /** @param {number} i the place of the chosen number, -1 for none */
  show(i) {
    const { curve, ks } = this;
    say(this.value, i < 0 ? '' : valueWords(curve, ks, i));
    say(this.chance, i < 0 ? '' : chanceWords(curve, i) || (curve.name === 'coverage' ? 'of 95% of test images' : ''));
    this.dot.hidden = i < 0;
    if (i < 0) return;
    this.dot.style.left = `${100 * (placeOf(ks, ks[i]) ?? 0)}%`;
    this.dot.style.top = `${(100 * heightOf(curve.values[i], curve.range)) / HEIGHT}%`;
  }

  remove() {
    for (const part of [this.label, this.plot, this.range]) part.remove();
  }
}
