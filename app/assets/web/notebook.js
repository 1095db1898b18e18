// @ts-check
// Explore as a widget in a notebook (anywidget); the same component as on the page.

import { element } from './dom.js';
import { Workspace } from './explore/workspace.js';
import { Messages } from './notebook/messages.js';

/** @typedef {import('./notebook/messages.js').Model} Model */
/** @typedef {import('./explore/state.js').WorkspaceData} WorkspaceData */

/**
 * @param {{ model: Model, el: HTMLElement }} widget
 * @returns {() => void} what takes it away
 */
function render({ model, el }) {
  const messages = new Messages(model);
  const root = element('div', { class: 'kx-notebook' }, el);
  root.style.height = `${Number(model.get('height'))}px`;
  root.style.colorScheme = themeOf(document.body);
  const stop = messages.fill(root);
  const workspace = new Workspace(messages.transport);
  root.append(workspace.root);
  void workspace.update(/** @type {WorkspaceData} */ (model.get('data')), {
    tell: (address) => {
      model.set('address', address);
      model.save_changes();
    },
    open: () => {}, // there are no other pages: see `can` in what Python gives
  });
  return () => {
    stop();
    workspace.destroy();
    messages.destroy();
    root.remove();
  };
}

/**
 * The theme of the notebook: JupyterLab and VS Code say it, others follow the system.
 *
 * @param {HTMLElement} body
 */
function themeOf({ dataset }) {
  if (dataset.jpThemeLight) return dataset.jpThemeLight === 'true' ? 'light' : 'dark';
  if (dataset.vscodeThemeKind) return dataset.vscodeThemeKind.includes('light') ? 'light' : 'dark';
  return 'light dark';
}

export default { render };
