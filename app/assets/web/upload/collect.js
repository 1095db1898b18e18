// @ts-check
// What a person chose or dropped, as a list of files with paths; folders are read to their end.

/**
 * @typedef {{ path: string, file: File }} Entry
 * @typedef {{ name: string, entries: Entry[], leftOut: number }} Collection
 */

/**
 * Whether the operating system or a program made a file or folder, not the person.
 *
 * @param {string} path
 * @param {readonly string[]} system lower case names
 */
export function isHidden(path, system) {
  return path.split('/').some((part) => /^(\.|~\$)/.test(part) || system.includes(part.toLowerCase()));
}

/**
 * Leaves out hidden files, and the folder that all files are in, which gives the name.
 *
 * @param {Entry[]} all
 * @param {readonly string[]} system lower case names of what is hidden
 * @returns {Collection}
 */
export function collection(all, system) {
  const entries = all.filter(({ path }) => !isHidden(path, system));
  const leftOut = all.length - entries.length;
  const top = entries[0]?.path.split('/')[0] ?? '';
  if (!entries.every(({ path }) => path.startsWith(`${top}/`))) {
    return { name: entries.length === 1 ? top : 'images', entries, leftOut };
  }
  const below = entries.map(({ path, file }) => ({ path: path.slice(top.length + 1), file }));
  return { name: top, entries: below, leftOut };
}

/**
 * The files of an input element: with paths where it chooses folders.
 *
 * @param {ArrayLike<File>} files
 * @returns {Entry[]}
 */
export function chosen(files) {
  return Array.from(files, (file) => ({ path: file.webkitRelativePath || file.name, file }));
}

/**
 * What was dropped. The browser forgets it when the event is over, so it is asked for all entries at once.
 *
 * @param {DataTransfer} transfer
 * @param {number} most files
 * @returns {Promise<Entry[]>} at most one more than `most`
 */
export async function dropped(transfer, most) {
  /** @type {Entry[]} */
  const entries = [];
  /** @type {FileSystemEntry[]} */
  const waiting = [];
  for (const item of transfer.items) {
    const entry = item.webkitGetAsEntry();
    const file = entry ? null : item.getAsFile(); // what is on no disk has no entry
    if (entry) waiting.unshift(entry);
    else if (file) entries.push({ path: file.name, file });
  }
  while (waiting.length && entries.length <= most) {
    const next = waiting.pop();
    if (next?.isFile) {
      entries.push({ path: next.fullPath.slice(1), file: await fileOf(/** @type {FileSystemFileEntry} */ (next)) });
    } else if (next?.isDirectory) {
      waiting.push(...(await childrenOf(/** @type {FileSystemDirectoryEntry} */ (next))));
    }
  }
  return entries;
}

/**
 * @param {FileSystemFileEntry} entry
 * @returns {Promise<File>}
 */
function fileOf(entry) {
  return new Promise((resolve, reject) => entry.file(resolve, reject));
}

/**
 * @param {FileSystemDirectoryEntry} folder
 * @returns {Promise<FileSystemEntry[]>}
 */
async function childrenOf(folder) {
  const reader = folder.createReader();
  /** @type {FileSystemEntry[]} */
  const children = [];
  for (;;) {
    // a reader gives a hundred at a time, and an empty list at the end
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!some.length) return children;
    children.push(...some);
  }
}
