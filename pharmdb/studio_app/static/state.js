// The state of one view of the studio, which all modules share, and the events by which they hear of its changes.
// Modules that change it don't know the ones that draw it:
//   info    the kernel has said what the database is
//   table   another table is shown
//   view    another table, filter, search, sort or size is shown
//   layout  columns were moved, hidden, pinned or made wider
//   count   the number of rows is known, or not any more
//   draw    the rows, what is staged, or what is selected has changed
//   heard   the kernel has answered

export const FIRST_PAGE = { place: null, direction: "after" };
export const emptyQuery = () => ({ filters: [], match: "all", search: "", sort: [], size: 50, ...FIRST_PAGE });

let views = 0;

export function createStudio(model) {
  views += 1;
  return {
    model,
    view: `${Date.now().toString(36)}-${views}`,
    ui: {}, // the elements that more than one module needs
    listeners: {},
    // the kernel
    number: 0, // of the last request
    pending: new Map(), // requests without an answer
    silent: false,
    // the database
    info: null,
    tables: [],
    // the page that is shown
    shown: null, // the name of the tab
    table: null, // the description of the table
    query: emptyQuery(),
    page: null,
    start: 1, // the number of the page's first row, where it is known
    count: null,
    loading: null, // the request for the page that is awaited
    counting: null, // the request for the number of its rows
    columns: [],
    shownLines: [],
    cells: new Map(), // the grid's elements by "row:column"
    resizing: false, // a column, by mouse
    hash: null,
    trail: [], // the views from which references were followed
    layouts: {}, // by table: order, hidden, pinned, widths
    // selection
    selected: new Set(), // ids of lines
    active: { r: 0, c: 0 }, // the cell with the focus; row -1 is the head, column -1 the mark of the row
    anchor: null, // where a selection of cells began
    // what is staged
    changes: [], // in their order
    staged: null, // the name of what is staged, by which the kernel knows what it has saved
    nextChange: 1,
    saving: false,
    overdue: false, // the answer to a save
    // the log
    statements: [], // newest first
  };
}

export function on(studio, event, listener) {
  studio.listeners[event] ??= [];
  studio.listeners[event].push(listener);
}

// Listeners hear in the order in which they were added.
export function emit(studio, event) {
  for (const listener of studio.listeners[event] ?? []) listener(studio);
}

export const redraw = (studio) => emit(studio, "draw");

// An id of an element, which no other view on the same page has.
export const idOf = (studio, name) => `ph-${studio.view}-${name}`;

export function canEdit({ table, info }) {
  return !table.readOnly && (info.environment !== "production" || info.unlocked);
}

export function whyNot({ table }) {
  return table.readOnly ? `read-only: ${table.readOnly}` : "production is read-only until it is unlocked";
}
