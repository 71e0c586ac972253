// Lines of the grid: the page's rows with their staged changes, and new rows.

const MOST_NEW = 200; // new rows that are drawn; more can be staged

// New rows come first, then the page's rows.
export function linesOf(studio) {
  const added = studio.changes
    .filter((c) => c.kind === "insert" && c.table === studio.table.name)
    .slice(0, MOST_NEW)
    .map((change) => ({ change, isNew: true, key: [], cells: [], id: `new ${change.id}` }));
  const changeOf = findChange(studio);
  const rows = (studio.page?.rows ?? []).map((row, n) => ({
    ...row,
    change: changeOf(row.key),
    isNew: false,
    id: row.key.length ? JSON.stringify(row.key) : `row ${n}`,
  }));
  return [...added, ...rows];
}

// Returns a function that finds the staged change of a row of the shown table by the row's key.
export function findChange(studio) {
  if (studio.table.readOnly) return () => undefined;
  const own = studio.changes.filter((c) => c.kind !== "insert" && c.table === studio.table.name);
  const byKey = new Map(own.map((c) => [JSON.stringify(c.key), c]));
  return (key) => byKey.get(JSON.stringify(key));
}

export function originalCell(studio, line, column) {
  return line.isNew ? undefined : line.cells[studio.table.columns.indexOf(column)];
}

// The cell as it would be saved: staged, or else as in the database; undefined if the default will be used.
export function currentCell(studio, line, column) {
  if (hasPassword(line, column)) return { t: "••••••••", m: true };
  return hasValue(line, column) ? line.change.values[column.name] : originalCell(studio, line, column);
}

export function isStaged(line, column) {
  return hasValue(line, column) || hasPassword(line, column);
}

const hasValue = (line, column) => Boolean(line.change && column.name in line.change.values);
const hasPassword = (line, column) => column.kind === "password" && line.change?.password !== undefined;
