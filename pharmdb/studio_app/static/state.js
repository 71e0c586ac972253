// The state of one view of the studio, which all modules share, and the events that announce its changes, so that
// modules that change it need not know the ones that draw it:
//   info    the kernel has described the database
//   address the page's address is about to be read
//   table   another table is shown
//   view    another table, filter, search, sort or size is shown
//   layout  columns were moved, hidden, pinned or resized
//   count   the number of rows has become known or unknown
//   draw    the rows, staged changes or selection have changed
//   refused the kernel has refused a filter: `studio.refusal`
//   selection another cell is focused, or other rows are selected
//   written rows were saved, or changed with SQL
//   width   the page has become wide or narrow
//   heard   the kernel has answered

export const FIRST_PAGE = { place: null, direction: "after" };
export const emptyQuery = () => ({ filters: [], match: "all", search: "", sort: [], size: 50, ...FIRST_PAGE });

let views = 0;

export function createStudio(model) {
  views += 1;
  return {
    model,
    view: `${Date.now().toString(36)}-${views}`,
    ui: {}, // elements that several modules use
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
    start: 1, // the number of the page's first row, if known
    count: null,
    loading: null, // the pending request for a page
    counting: null, // the request for the number of its rows
    drafts: [], // the filters that are shown: `isNew` ones are not applied yet, `problem` says why not
    filtersShown: null, // the applied filters when they were last drawn
    refusal: null, // filters that the kernel refused, and its error
    zoom: 1, // of the chart of all tables
    facet: null, // the column whose values are shown, and the requests for them
    labels: {}, // by "table.column" of a reference and its value: the label of the row that it refers to
    columns: [],
    shownLines: [],
    cells: new Map(), // the grid's elements by "row:column"
    resizing: false, // whether the mouse is resizing a column
    hash: null, // of the view that is recorded in the address
    leaving: false, // whether the next view is a new entry of the browser's history
    trail: [], // the views from which references were followed
    sizes: {}, // by table: the number of its rows
    pins: [], // names of pinned tables
    autoWidths: {}, // by column: the width that its values need
    widths: {}, // by column: as drawn
    layouts: {}, // by table: order, hidden, pinned, widths
    // selection
    selected: new Set(), // ids of lines
    lastToggled: null, // the id of the line that was selected last
    active: { r: 0, c: 0 }, // the focused cell; row -1 is the heading, column -1 the row's mark
    anchor: null, // where the selection of cells began
    // staged changes
    changes: [], // in order
    staged: null, // the name of this set of changes, by which the kernel recognizes a set that it has saved
    nextChange: 1,
    kept: { content: "[]", changes: [] }, // the changes as they were kept last
    undone: [], // earlier sets of staged changes, for undo
    redone: [],
    unkept: false, // whether the staged changes are too large to outlive a reload
    saving: false,
    overdue: false, // whether the answer to a save is overdue
    // the log
    statements: [], // newest first
  };
}

export function on(studio, event, listener) {
  studio.listeners[event] ??= [];
  studio.listeners[event].push(listener);
}

// Listeners are called in the order in which they were added.
export function emit(studio, event) {
  for (const listener of studio.listeners[event] ?? []) listener(studio);
}

export const redraw = (studio) => emit(studio, "draw");

// An element id that is unique among all views on the page.
export const idOf = (studio, name) => `ph-${studio.view}-${name}`;

export function canEdit({ table, info }) {
  return !table.readOnly && (info.environment !== "production" || info.unlocked);
}

export function whyNot({ table }) {
  return table.readOnly ? `read-only: ${table.readOnly}` : "production is read-only until it is unlocked";
}
