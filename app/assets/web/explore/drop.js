// @ts-check
// A picture from anywhere: dropped on the component, pasted on the page, or picked.

import { element } from '../dom.js';

/**
 * @typedef {object} DropHooks
 * @property {(file: File) => void} picked
 * @property {(message: string) => void} error a sentence for people; "" when the last one is no longer so
 *
 * @typedef {{ picture: string, title: string, notes: string[] }} Sent a picture that the server has
 */

export const MOST_BYTES = 64 * 2 ** 20; // as kmex_core.data.pictures.MAX_BYTES: what is larger is not sent
export const PICK = 'Drop, paste or pick a picture';

/**
 * The file to take of several, and what to say of that.
 *
 * @template {{ name: string, size: number, type: string }} AFile
 * @param {AFile[]} files
 * @returns {{ file: AFile | null, message: string }}
 */
export function chosenFile(files) {
  // a type is what the browser makes of the name: some pictures have none
  const file = files.find(({ type }) => type.startsWith('image/')) ?? files[0];
  if (!file) return { file: null, message: 'There was no picture in it. Save it as a file and drop that.' };
  if (file.size > MOST_BYTES) {
    const size = (file.size / 2 ** 20).toFixed(1);
    return { file: null, message: `'${file.name}' has ${size} MB; the limit is ${MOST_BYTES / 2 ** 20} MB.` };
  }
  return { file, message: files.length > 1 ? `Of ${files.length} files, '${file.name}' is shown.` : '' };
}

/**
 * Sends a picture to the server, which keeps it in memory.
 *
 * @param {import('./transport.js').Transport} transport
 * @param {File} file
 * @returns {Promise<Sent>}
 */
export async function sendPicture(transport, file) {
  const answer = await transport.send('pictures', file, file.name);
  return JSON.parse(new TextDecoder().decode(answer));
}

/** @param {EventTarget | null} target */
const isField = (target) =>
  target instanceof HTMLElement && (target.isContentEditable || target.matches('input, textarea, select'));

/** @param {DragEvent} event */
const hasFiles = (event) => event.dataTransfer?.types.includes('Files') ?? false;

/** Takes pictures; `button` can be put anywhere. */
export class DropZone {
  /**
   * @param {HTMLElement} root where pictures can be dropped
   * @param {DropHooks} hooks
   */
  constructor(root, hooks) {
    this.root = root;
    this.hooks = hooks;
    this.isUsable = true;
    this.inside = 0; // elements that are being dragged over: each tells of entering before the last tells of leaving
    this.button = element('button', { type: 'button', class: 'kx-drop-button', text: PICK });
    this.field = element('input', {
      type: 'file',
      hidden: '',
      'aria-label': PICK,
      accept: 'image/*,.dcm,.dicom,.heic,.heif',
    });
    this.overlay = element('div', { class: 'kx-drop-overlay', 'aria-hidden': 'true' });
    element('p', { text: 'Drop the picture to see what it looks like' }, this.overlay);
    root.append(this.field, this.overlay);
    this.stopped = new AbortController();
    const { signal } = this.stopped;
    this.button.addEventListener('click', () => this.field.click(), { signal });
    this.field.addEventListener('change', () => this.take([...(this.field.files ?? [])]), { signal });
    root.addEventListener('dragenter', (event) => this.isUsable && hasFiles(event) && this.over(1), { signal });
    root.addEventListener('dragleave', (event) => hasFiles(event) && this.over(-1), { signal });
    root.addEventListener('dragover', (event) => this.isUsable && hasFiles(event) && event.preventDefault(), {
      signal,
    });
    root.addEventListener('drop', (event) => this.dropped(event), { signal });
    document.addEventListener('paste', (event) => this.pasted(event), { signal });
  }

  /** @param {boolean} isUsable whether pictures are taken */
  setUsable(isUsable) {
    this.isUsable = isUsable;
    this.button.hidden = !isUsable;
  }

  /** @param {number} step */
  over(step) {
    this.inside = Math.max(0, this.inside + step);
    this.overlay.classList.toggle('kx-over', this.inside > 0);
  }

  /** @param {DragEvent} event */
  dropped(event) {
    if (!this.isUsable || !hasFiles(event)) return;
    event.preventDefault();
    this.over(-this.inside);
    this.take([...(event.dataTransfer?.files ?? [])]);
  }

  /** @param {ClipboardEvent} event */
  pasted(event) {
    if (!this.isUsable || !this.root.isConnected || isField(document.activeElement)) return;
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length > 0) this.take(files);
  }

  /** @param {File[]} files */
  take(files) {
    this.field.value = ''; // so that the same file can be picked again
    const { file, message } = chosenFile(files);
    this.hooks.error(message);
    if (file) this.hooks.picked(file);
  }

  destroy() {
    this.stopped.abort();
    for (const part of [this.button, this.field, this.overlay]) part.remove();
  }
}
