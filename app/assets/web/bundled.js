// @ts-check
// Explore in one file: a widget for notebooks, and the script of reports, in which nobody calls it.

import { showReport } from './report.js';

export { default } from './notebook.js';

if (document.body?.classList.contains('kx-report')) showReport(document);
