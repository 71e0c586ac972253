// Columns by path: a column's own name, or `user_id.role` for a column of the row that a reference refers to.

export const tableNamed = (studio, name) => studio.tables.find((t) => t.name === name);

// The description of the column at a path of the shown table; undefined if there is none.
export function columnAt(studio, path, table = studio.table) {
  const own = table.columns.find((c) => c.name === path);
  const dot = path.indexOf(".");
  if (own || dot < 0) return own ?? table.columns[0];
  const reference = table.columns.find((c) => c.name === path.slice(0, dot));
  const parent = reference?.references && tableNamed(studio, reference.references[0]);
  return parent ? columnAt(studio, path.slice(dot + 1), parent) : table.columns[0];
}

// The paths to choose from, as pairs of a group and its paths; the table's own columns are in the group "".
export function columnPaths(studio) {
  const { columns } = studio.table;
  const related = columns
    .filter((c) => c.references && tableNamed(studio, c.references[0]))
    .map((c) => [
      `${c.references[0]} by ${c.name}`,
      tableNamed(studio, c.references[0]).columns.map((parent) => `${c.name}.${parent.name}`),
    ]);
  return [["", columns.map((c) => c.name)], ...related];
}
