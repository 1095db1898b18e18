// @ts-check
// Where a person drops images to upload them. A transfer belongs to the tab, not to the page in it: it goes on while the
// page is drawn anew or another one is looked at.

import { element, reasonOf } from './dom.js';
import { chosen, collection, dropped } from './upload/collect.js';
import { Transfer } from './upload/transfer.js';

/**
 * @typedef {object} UploadData
 * @property {string} url of the route
 * @property {number} bytes the most in all
 * @property {number} files the most in all
 * @property {number} part the most bytes of a request
 * @property {string[]} system lower case names that are left out
 *
 * @typedef {import('./dom.js').Component<UploadData>} UploadComponent
 * @typedef {import('./upload/collect.js').Entry} Entry
 */

const MB = 1 << 20;
/** @type {WeakMap<HTMLElement, Uploader>} */
const uploaders = new WeakMap();
/** @type {Transfer | null} the one that is on its way */
let current = null;
/** The name of a finished upload that Python does not know of yet. */
let finished = '';
/** @type {Uploader | null} the one on the page */
let shown = null;

addEventListener('beforeunload', (event) => current && event.preventDefault());
addEventListener('pagehide', (event) => !event.persisted && current?.cancel());

/**
 * @param {UploadComponent} component
 * @returns {Promise<() => void>} what takes it off the page
 */
export async function show(component) {
  const { parentElement } = component;
  const uploader = uploaders.get(parentElement) ?? new Uploader(component);
  uploaders.set(parentElement, uploader);
  uploader.component = component;
  shown = uploader;
  uploader.draw();
  uploader.tell();
  return () => {
    uploader.root.remove();
    uploaders.delete(parentElement);
    if (shown === uploader) shown = null;
  };
}

/** @param {number} bytes */
function megabytes(bytes) {
  const value = bytes / MB;
  return value.toLocaleString('en', { maximumFractionDigits: value < 10 ? 1 : 0 });
}

/** @param {number} seconds */
function timeLeft(seconds) {
  if (seconds < 60) return `${Math.max(1, Math.round(seconds))} s left`;
  return `${Math.round(seconds / 60)} min left`;
}

/** @param {number} count */
function filesOf(count) {
  return `${count.toLocaleString('en')} ${count === 1 ? 'file' : 'files'}`;
}

class Uploader {
  /** @param {UploadComponent} component */
  constructor(component) {
    this.component = component;
    this.note = '';
    this.root = element('div', { class: 'kx-upload' }, component.parentElement);
    this.zone = element('div', { class: 'kx-drop', role: 'group', 'aria-label': 'Upload images' }, this.root);
    element('p', { text: 'Drop a folder, an archive or files here, or choose them.' }, this.zone);
    const buttons = element('div', { class: 'kx-buttons' }, this.zone);
    this.folder = this.input({ webkitdirectory: '', 'aria-label': 'Folder to upload' });
    this.files = this.input({ multiple: '', 'aria-label': 'Files to upload' });
    this.button(buttons, 'Choose a folder', () => this.folder.click());
    this.button(buttons, 'Choose files', () => this.files.click());
    element(
      'small',
      {
        text:
          `Up to ${component.data.bytes / (1 << 30)} GB and ${filesOf(component.data.files)}: a folder of pictures, zip or ` +
          'tar, parquet, .npz, or a table with pictures.',
      },
      this.zone,
    );
    this.sending = element('div', { class: 'kx-sending' }, this.root);
    this.bar = element('progress', { 'aria-label': 'Upload' }, this.sending);
    this.counts = element('span', { class: 'kx-counts' }, this.sending);
    this.cancel = this.button(this.sending, 'Cancel upload', () => this.stop());
    this.status = element('p', { class: 'kx-status', role: 'status' }, this.root);
    this.error = element('p', { class: 'kx-error', role: 'alert' }, this.root);
    this.zone.addEventListener('dragover', (event) => this.over(event, true));
    this.zone.addEventListener('dragleave', (event) => this.over(event, false));
    this.zone.addEventListener('drop', (event) => this.drop(event));
  }

  /** @param {Record<string, string>} attributes */
  input(attributes) {
    const input = element('input', { type: 'file', hidden: '', tabindex: '-1', ...attributes }, this.root);
    input.addEventListener('change', () => {
      const entries = chosen(input.files ?? []);
      input.value = ''; // the same choice again is a change, too
      this.start(entries);
    });
    return input;
  }

  /**
   * @param {Element} parent
   * @param {string} text
   * @param {() => void} act
   */
  button(parent, text, act) {
    const button = element('button', { type: 'button', text }, parent);
    button.addEventListener('click', act);
    return button;
  }

  /**
   * @param {DragEvent} event
   * @param {boolean} inside
   */
  over(event, inside) {
    event.preventDefault();
    this.zone.classList.toggle('kx-over', inside && !current);
  }

  /** @param {DragEvent} event */
  async drop(event) {
    this.over(event, false);
    if (!event.dataTransfer || current) return;
    this.say('Reading the folder …');
    try {
      this.start(await dropped(event.dataTransfer, this.component.data.files));
    } catch (error) {
      this.say('', `The folder cannot be read: ${reasonOf(error)}`);
    }
  }

  /** @param {Entry[]} all */
  async start(all) {
    const { url, part, bytes, files, system } = this.component.data;
    const { name, entries, leftOut } = collection(all, system);
    const size = entries.reduce((sum, { file }) => sum + file.size, 0);
    if (current) return;
    if (!entries.length) {
      this.say('', 'There are no files to upload; hidden files are left out.');
    } else if (entries.length > files) {
      this.say('', `An upload may have ${filesOf(files)}. Upload more than that as one archive.`);
    } else if (size > bytes) {
      this.say(
        '',
        `This is ${megabytes(size)} MB; an upload may have ${megabytes(bytes)} MB. Copy more than that to the server's ` +
          'machine, and name its folder there.',
      );
    } else {
      this.note = leftOut ? `${filesOf(leftOut)} left out: hidden, or of the operating system.` : '';
      this.say(this.note);
      await send(new Transfer(name, entries, { url, part }), this.note);
    }
  }

  stop() {
    current?.cancel();
  }

  /**
   * @param {string} status
   * @param {string} [error]
   */
  say(status, error = '') {
    this.status.textContent = status;
    this.error.textContent = error;
  }

  /** Tells Python of a finished upload. */
  tell() {
    if (!finished) return;
    this.component.setTriggerValue('finished', finished);
    finished = '';
  }

  draw() {
    const focused = this.root.contains(document.activeElement);
    const toggled = this.sending.hidden !== !current;
    this.sending.hidden = !current;
    this.zone.hidden = Boolean(current);
    // what had the keyboard's focus may be gone
    if (toggled && focused) (current ? this.cancel : this.zone.querySelector('button'))?.focus();
    if (!current) return;
    const { sent, total, files, entries, left, trouble } = current;
    this.bar.max = Math.max(1, total);
    this.bar.value = sent;
    this.counts.textContent = [
      `${megabytes(sent)} of ${megabytes(total)} MB`,
      `${files.toLocaleString('en')} of ${filesOf(entries.length)}`,
      ...(left === null || sent === total ? [] : [timeLeft(left)]),
      ...(sent === total ? ['finishing …'] : []),
    ].join(' · ');
    this.status.textContent = trouble || this.note;
  }
}

/**
 * Sends, whatever is on the page meanwhile.
 *
 * @param {Transfer} transfer
 * @param {string} note what was left out
 */
async function send(transfer, note) {
  current = transfer;
  transfer.changed = () => shown?.draw();
  shown?.draw();
  let [status, error] = ['', ''];
  try {
    finished = await transfer.run();
    status = `${finished} is uploaded. ${note}`.trim();
  } catch (reason) {
    if (transfer.stop.signal.aborted) status = 'The upload was cancelled.';
    else {
      const lost = reason instanceof TypeError || (reason instanceof DOMException && reason.name === 'TimeoutError');
      error = lost
        ? 'The upload stopped: the server cannot be reached, or a file was changed or removed meanwhile. Try again.'
        : reasonOf(reason);
      transfer.cancel();
    }
  }
  current = null;
  shown?.draw();
  shown?.say(status, error);
  shown?.tell();
}
