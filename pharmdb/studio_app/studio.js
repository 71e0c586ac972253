// The studio's page: an accessible grid and its panels. It holds no SQL; it asks the kernel, and shows the answers
// as text nodes only. What is typed is staged here until it is saved, and survives a reload of the page.

const PING_EVERY = 3000; // ms between two pings, while somebody works with the page
const SILENCE = 8000; // ms without an answer after which the kernel counts as gone
const ATTENTIVE = 60000; // ms after the last key or click in which the kernel is still pinged; then it may be culled
const NARROWEST = 48;
const FOCUSABLE = new Set(["BUTTON", "INPUT", "SELECT", "TEXTAREA", "A", "SUMMARY"]);
const OPERATORS_WITHOUT_VALUE = new Set(["is empty", "is not empty"]);
const KIND_NAMES = {
  text: "text", integer: "whole number", number: "number", boolean: "true or false", datetime: "time, UTC", date: "date",
  enum: "one of a list", json: "JSON", bytes: "bytes", raw: "other", any: "any", password: "password",
};
const SHORT_NAMES = { integer: "integer", boolean: "boolean", enum: "list", datetime: "UTC time" };
const WORDS = ["SELECT", "FROM", "WHERE", "JOIN", "GROUP BY", "ORDER BY", "LIMIT", "COUNT(*)", "DISTINCT", "BETWEEN"];
let views = 0;

// An element with attributes, listeners (`onclick`) and children, of which strings become text.
function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked" || name === "selected") element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  // JupyterLab's one-key commands must not fire from inside.
  if (FOCUSABLE.has(element.tagName) || "tabindex" in properties) element.setAttribute("data-lm-suppress-shortcuts", "true");
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

const button = (label, onclick, properties = {}) => h("button", { type: "button", onclick, ...properties }, label);

// Characters that would hide, or turn the text around, are shown by name.
function visible(text) {
  return text
    .replace(/\r\n|[\n\r]/g, "↵")
    .replace(/\t/g, "⇥")
    .replace(/[\u0000-\u001f]/g, (c) => String.fromCharCode(0x2400 + c.charCodeAt(0)))
    .replace(/[\u007f-\u009f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]/g, (c) => `⟨U+${c.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}⟩`);
}

const asciiLower = (text) => text.replace(/[A-Z]/g, (c) => c.toLowerCase());
const textOf = (cell) => (cell !== null && typeof cell === "object" ? cell.t : cell);
const isCut = (cell) => cell !== null && typeof cell === "object" && !cell.m && cell.n !== undefined;
const isMasked = (cell) => cell !== null && typeof cell === "object" && Boolean(cell.m);
const plural = (n, word) => `${n} ${word}${n === 1 ? "" : "s"}`;
const sameKey = (a, b) => JSON.stringify(a) === JSON.stringify(b);
const keyText = (key) => key.map((part) => (part === null ? "NULL" : part.slice(2))).join(", ");

function fromTSV(text) {
  const rows = [[""]];
  let quoted = false;
  const clean = text.replace(/\r\n?/g, "\n").replace(/\n$/, "");
  for (let i = 0; i < clean.length; i++) {
    const c = clean[i];
    const row = rows[rows.length - 1];
    const at = row.length - 1;
    if (quoted) {
      if (c === '"' && clean[i + 1] === '"') { row[at] += '"'; i++; }
      else if (c === '"') quoted = false;
      else row[at] += c;
    } else if (c === '"' && row[at] === "") quoted = true;
    else if (c === "\t") row.push("");
    else if (c === "\n") rows.push([""]);
    else row[at] += c;
  }
  return rows;
}

const toTSV = (rows) =>
  rows.map((row) => row.map((t) => (/["\t\n\r]/.test(t ?? "") ? `"${t.replace(/"/g, '""')}"` : t ?? "")).join("\t")).join("\n");

class Studio {
  constructor(model, el) {
    this.model = model;
    this.view = `${Date.now().toString(36)}-${++views}`;
    this.number = 0;
    this.pending = new Map();
    this.tables = [];
    this.info = null;
    this.table = null; // the description of the table that is shown
    this.query = { filters: [], match: "all", search: "", sort: [], size: 50, place: null, direction: "after" };
    this.page = null;
    this.start = 1; // the number of the page's first row, where it is known
    this.count = null;
    this.changes = []; // what is staged, in its order
    this.staged = null; // the name of what is staged, by which the kernel knows what it has saved
    this.nextChange = 1;
    this.selected = new Set();
    this.active = { r: 0, c: 0 };
    this.anchor = null;
    this.trail = [];
    this.layouts = {};
    this.lastHeard = Date.now();
    this.lastInput = Date.now();
    this.silent = false;
    this.logSince = 0;
    this.statements = [];
    this.build(el);
    this.onMessage = (message, buffers) => this.receive(message, buffers);
    model.on("msg:custom", this.onMessage);
    this.timer = setInterval(() => this.watch(), 1000);
    this.onHash = () => { if (location.hash !== this.hash) this.fromAddress(); };
    window.addEventListener("hashchange", this.onHash);
    // Voilà ends the kernel at this event, also when the person then chooses to stay.
    this.onLeave = (event) => { if (this.changes.length) { event.preventDefault(); event.stopImmediatePropagation(); } };
    window.addEventListener("beforeunload", this.onLeave, true);
    this.begin();
  }

  close() {
    clearInterval(this.timer);
    window.removeEventListener("hashchange", this.onHash);
    window.removeEventListener("beforeunload", this.onLeave, true);
    this.model.off("msg:custom", this.onMessage);
  }

  // -- talking to the kernel ----------------------------------------------------------------------

  request(op, data = {}, onPiece = null) {
    const id = `${this.view}:${++this.number}`;
    const promise = new Promise((resolve, reject) => {
      this.pending.set(id, { op, resolve, reject, onPiece, since: Date.now() });
    });
    promise.id = id;
    this.busy();
    this.send({ ...data, op, id });
    return promise;
  }

  tell(op, data = {}) { this.send({ ...data, op, id: `${this.view}:${op}` }); }

  send(message) {
    // Without a connection this throws; `watch` then finds the silence, and says so.
    try { this.model.send(message); } catch (error) { console.warn(error); }
  }

  receive(message, buffers) {
    if (!String(message.id).startsWith(`${this.view}:`)) return;
    this.heard();
    const waiting = this.pending.get(message.id);
    if (!waiting) return;
    if (message.more) { waiting.onPiece(buffers[0], message.id); return; }
    this.pending.delete(message.id);
    this.busy();
    if (message.error) waiting.reject(message.error);
    else waiting.resolve({ ...message.result, buffers });
  }

  // A save whose answer is overdue does not keep the page waiting.
  busy() { this.root.dataset.busy = this.pending.size && !(this.silent && this.saving) ? "1" : "0"; }

  heard() {
    this.lastHeard = Date.now();
    if (this.silent) {
      this.silent = false;
      this.root.dataset.kernel = "alive";
      this.alertBox.replaceChildren();
    }
  }

  // A kernel that has died says nothing: the page notices by itself, and keeps what is staged.
  watch() {
    const now = Date.now();
    const working = this.pending.size > 0 || (now - this.lastInput < ATTENTIVE && document.visibilityState === "visible");
    if (!working) { this.lastPing = undefined; return; }
    if (this.lastPing === undefined || now - this.lastPing >= PING_EVERY) {
      if (this.lastPing === undefined) this.lastHeard = now;
      this.lastPing = now;
      this.tell("ping");
    }
    if (!this.silent && now - this.lastHeard > SILENCE) {
      this.silent = true;
      this.root.dataset.kernel = "silent";
      this.keepDraft();
      // A save may still be in the kernel's queue: its answer is awaited for as long as the page is there.
      for (const [id, waiting] of this.pending) {
        if (waiting.op === "save") continue;
        this.pending.delete(id);
        waiting.reject({ sentence: "the kernel does not answer" });
      }
      this.busy();
      this.overdue = Boolean(this.saving);
      const unknown = this.saving ? " It is not known whether the changes were saved: they stay staged, and are not saved twice." : " Nothing more was saved.";
      const kept = this.changes.length ? ` ${plural(this.changes.length, "staged change")} kept in this page.` : "";
      this.alertBox.replaceChildren(
        h("p", {}, `The kernel does not answer: it is busy, was ended, or has died.${unknown}${kept} Reload the page, or run the notebook again.`),
      );
    }
  }

  fail(error, where = null) {
    const sentence = error.sentence ?? String(error);
    const parts = [sentence, error.expected && `expected: ${error.expected}`, error.next && `next: ${error.next}`].filter(Boolean);
    this.say(parts.join(" · "), true, where);
    if (!error.sentence) console.error(error);
  }

  say(text, isError = false) {
    this.message.textContent = text;
    this.message.classList.toggle("ph-error", isError);
  }

  // -- the frame ----------------------------------------------------------------------------------

  build(el) {
    const id = (name) => `ph-${this.view}-${name}`;
    this.id = id;
    this.root = h("section", { class: "ph-studio", "aria-label": "Studio", "data-busy": "0", "data-kernel": "alive" });
    this.root.addEventListener("keydown", () => { this.lastInput = Date.now(); }, true);
    this.root.addEventListener("pointerdown", () => { this.lastInput = Date.now(); }, true);
    this.alertBox = h("div", { role: "alert", class: "ph-alert" });
    this.heading = h("span", { class: "ph-title" }, "…");
    this.badge = h("span", { class: "ph-badge" });
    this.lockButton = button("Unlock…", () => this.askLock());
    this.tableSelect = h("select", { id: id("table"), onchange: () => this.go({ table: this.tableSelect.value }) });
    this.tabs = h("div", { role: "tablist", "aria-label": "Views", class: "ph-tabs" });
    this.panels = {};
    this.tabButtons = {};
    for (const [name, label] of [["rows", "Rows"], ["columns", "Columns"], ["sql", "SQL"], ["log", "Log"], ["schema", "Schema"]]) {
      this.tabButtons[name] = h("button", {
        type: "button", role: "tab", id: id(`tab-${name}`), "aria-controls": id(name), "aria-selected": "false", tabindex: "-1",
        onclick: () => this.show(name), onkeydown: (event) => this.tabKey(event, name),
      }, label);
      this.tabs.append(this.tabButtons[name]);
      this.panels[name] = h("div", { role: "tabpanel", id: id(name), "aria-labelledby": id(`tab-${name}`), class: "ph-panel", hidden: true });
    }
    this.message = h("p", { role: "status", class: "ph-message" });
    this.buildRows(id);
    this.buildSQL(id);
    this.staging = h("section", { class: "ph-staging", "aria-label": "Staged changes", hidden: true });
    this.root.append(
      this.alertBox,
      h("div", { class: "ph-bar ph-head" }, this.heading, this.badge, this.lockButton,
        h("span", { class: "ph-push" }), h("label", { for: id("table") }, "Table"), this.tableSelect),
      this.tabs, ...Object.values(this.panels), this.message, this.staging,
    );
    el.append(this.root);
    this.show("rows");
  }

  buildRows(id) {
    this.trailBox = h("nav", { "aria-label": "Trail", class: "ph-trail", hidden: true });
    this.searchBox = h("input", {
      type: "search", id: id("search"), placeholder: "search all columns",
      onkeydown: (event) => { if (event.key === "Enter") this.go({ search: this.searchBox.value }); },
      onsearch: () => { if (this.searchBox.value !== this.query.search) this.go({ search: this.searchBox.value }); },
    });
    this.sizeSelect = h("select", { id: id("size"), onchange: () => this.go({ size: Number(this.sizeSelect.value) }) });
    this.filterBox = h("div", { class: "ph-filters" });
    this.addButton = button("Add row", () => this.addRow());
    this.duplicateButton = button("Duplicate", () => this.duplicate());
    this.deleteButton = button("Delete…", () => this.askDelete());
    this.relatedButton = button("Related rows", () => this.showRelated());
    this.formatSelect = h("select", { id: id("format") });
    this.exportButton = button("Export", () => this.export());
    this.status = h("p", { class: "ph-status", "data-testid": "status" });
    this.grid = h("table", { role: "grid", "aria-multiselectable": "true", class: "ph-grid" });
    this.grid.addEventListener("keydown", (event) => this.gridKey(event));
    // A screen reader moves the focus by itself.
    this.grid.addEventListener("focusin", (event) => {
      const at = event.target.at;
      if (at && (at.r !== this.active.r || at.c !== this.active.c)) { this.active = { ...at }; this.anchor = null; this.mark(); }
    });
    this.grid.addEventListener("copy", (event) => this.copy(event));
    this.grid.addEventListener("paste", (event) => this.paste(event));
    this.grid.addEventListener("mousedown", (event) => this.gridMouse(event));
    this.grid.addEventListener("mouseover", (event) => this.gridDrag(event));
    this.grid.addEventListener("dblclick", (event) => { const at = this.at(event.target); if (at && at.r >= 0) this.edit(at); });
    this.scroller = h("div", { class: "ph-scroll" }, this.grid);
    this.relatedBox = h("section", { "aria-label": "Related rows", class: "ph-related", hidden: true });
    this.pager = {};
    for (const [name, label] of [["first", "First"], ["previous", "Previous"], ["next", "Next"], ["last", "Last"]]) {
      this.pager[name] = button(label, () => this.turn(name));
    }
    const help = h("details", { class: "ph-help" }, h("summary", {}, "Keys"), h("p", {},
      "Arrows, Home, End, Ctrl+Home, Ctrl+End move; Page Up and Page Down turn the page; with Shift the selection grows, Ctrl+A selects all. " +
      "Enter or F2 edits; typing replaces; Delete sets NULL; Shift+Space selects the row; Ctrl+C and Ctrl+V copy and paste; Ctrl+Enter follows a reference; Alt+Enter shows what refers to the row; Ctrl+S saves. " +
      "On a column's head Enter sorts (Shift adds a further column), Alt+arrows move it, Alt+Shift+arrows make it wider or narrower, P pins and H hides it."));
    this.panels.rows.append(
      this.trailBox,
      h("div", { class: "ph-bar" }, h("label", { for: id("search") }, "Search"), this.searchBox,
        button("Search", () => this.go({ search: this.searchBox.value }), { "aria-label": "Search now" }),
        button("Add filter", () => this.addFilter()),
        h("span", { class: "ph-push" }), this.addButton, this.duplicateButton, this.deleteButton, this.relatedButton),
      this.filterBox, this.scroller,
      h("div", { class: "ph-bar" }, this.pager.first, this.pager.previous, this.pager.next, this.pager.last, this.status,
        h("span", { class: "ph-push" }), h("label", { for: id("size") }, "Rows a page"), this.sizeSelect,
        h("label", { for: id("format") }, "as"), this.formatSelect, this.exportButton),
      this.relatedBox, help,
    );
  }

  show(name) {
    for (const [each, panel] of Object.entries(this.panels)) {
      panel.hidden = each !== name;
      this.tabButtons[each].setAttribute("aria-selected", String(each === name));
      this.tabButtons[each].tabIndex = each === name ? 0 : -1;
    }
    this.shown = name;
    if (name === "columns" && this.table) this.drawColumns();
    if (name === "log") this.loadLog();
    if (name === "schema") this.loadPicture();
  }

  tabKey(event, name) {
    const names = Object.keys(this.panels);
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const next = names[(names.indexOf(name) + step + names.length) % names.length];
    this.show(next);
    this.tabButtons[next].focus();
  }

  async begin() {
    try {
      this.info = await this.request("hello");
    } catch (error) { this.fail(error); return; }
    this.tables = this.info.tables;
    this.heading.textContent = this.info.title;
    this.root.setAttribute("aria-label", `Studio: ${this.info.title}`);
    this.tableSelect.replaceChildren(...this.tables.map((t) => h("option", { value: t.name }, t.name)));
    this.sizeSelect.replaceChildren(...this.info.sizes.map((n) => h("option", { value: n }, String(n))));
    this.formatSelect.replaceChildren(...this.info.formats.map((f) => h("option", { value: f }, f)));
    try { this.layouts = JSON.parse(localStorage.getItem(`pharmdb-studio-layout:${this.info.title}`) ?? "{}"); } catch { this.layouts = {}; }
    this.restoreDraft();
    this.drawLock();
    this.fromAddress();
  }

  // -- the address --------------------------------------------------------------------------------

  fromAddress() {
    const address = new URLSearchParams(location.hash.slice(1));
    const change = { table: address.get("table") ?? this.model.get("table"), filters: [], match: "all", search: "", sort: [], size: 50, place: null, direction: "after", start: 1 };
    if (!this.tables.some((t) => t.name === change.table)) change.table = this.model.get("table");
    try {
      change.filters = address.getAll("f").map((f) => { const [column, operator, value = "", upper = "", items = []] = JSON.parse(f); return { column, operator, value, upper, items }; });
      change.sort = (address.get("sort") ?? "").split(",").filter(Boolean).map((s) => [decodeURIComponent(s.replace(/^-/, "")), s.startsWith("-")]);
      change.match = address.get("match") === "any" ? "any" : "all";
      change.search = address.get("q") ?? "";
      change.size = Number(address.get("size")) || 50;
      if (address.get("from")) { change.place = JSON.parse(address.get("from")); change.direction = "from"; change.start = Number(address.get("row")) || null; }
    } catch { this.say("the address could not be read", true); }
    this.go(change, false);
  }

  toAddress() {
    const { filters, match, search, sort, size } = this.query;
    const address = new URLSearchParams({ table: this.table.name });
    for (const f of filters) address.append("f", JSON.stringify([f.column, f.operator, f.value, f.upper, f.items]));
    if (match === "any") address.set("match", "any");
    if (search) address.set("q", search);
    if (sort.length) address.set("sort", sort.map(([name, down]) => (down ? "-" : "") + encodeURIComponent(name)).join(","));
    if (size !== 50) address.set("size", size);
    if (this.page?.has_previous && this.page.first && JSON.stringify(this.page.first).length < 1500) {
      address.set("from", JSON.stringify(this.page.first));
      if (this.start) address.set("row", this.start);
    }
    this.hash = `#${address}`;
    history.replaceState(history.state, "", this.hash);
  }

  // -- pages --------------------------------------------------------------------------------------

  // Another view: what is given of table, filters, search, sort, size and place. A filter or sort starts at page 1.
  async go(change, leaveTrail = true) {
    const { table, start, ...query } = change;
    if (table && table !== this.table?.name) {
      this.query = { filters: [], match: "all", search: "", sort: [], size: this.query.size, place: null, direction: "after" };
      this.table = this.tables.find((t) => t.name === table);
      this.selected.clear();
      this.active = { r: 0, c: 0 };
      this.anchor = null;
      this.page = null;
      this.relatedBox.hidden = true;
      if (leaveTrail) this.trail = [];
    }
    if (!("place" in query)) Object.assign(query, { place: null, direction: "after" });
    Object.assign(this.query, query);
    this.start = start === undefined ? 1 : start;
    this.tableSelect.value = this.table.name;
    this.searchBox.value = this.query.search;
    this.sizeSelect.value = String(this.query.size);
    this.drawFilters();
    this.drawTrail();
    if (this.shown === "columns") this.drawColumns();
    await this.load(true);
  }

  wanted() { return { table: this.table.name, ...this.query }; }

  async load(recount = false) {
    for (const request of [this.loading, recount && this.counting]) if (request) this.tell("cancel", { request });
    const loading = this.request("page", this.wanted());
    this.loading = loading.id;
    let page;
    try {
      page = await loading;
    } catch (error) {
      if (this.loading === loading.id) { this.page = { rows: [], has_previous: false, has_next: false }; this.draw(); this.fail(error); }
      return false;
    }
    if (this.loading !== loading.id) return false;
    this.loading = null;
    this.page = page;
    if (!page.has_previous) this.start = 1;
    this.selected.clear();
    this.say("");
    this.draw();
    this.toAddress();
    if (recount) await this.recount();
    return true;
  }

  async recount() {
    this.count = null;
    this.drawStatus();
    const counting = this.request("count", this.wanted());
    this.counting = counting.id;
    try {
      const count = await counting;
      if (this.counting === counting.id) { this.count = count; this.counting = null; this.drawStatus(); }
    } catch (error) {
      if (this.counting === counting.id) { this.count = { text: `not counted: ${error.sentence}` }; this.drawStatus(); }
    }
  }

  async turn(where) {
    if (this.pager[where].getAttribute("aria-disabled") === "true") return;
    const rows = this.page?.rows.length ?? 0;
    const moves = {
      first: [null, "after", 1],
      previous: [this.page?.first, "before", this.start && Math.max(1, this.start - this.query.size)],
      next: [this.page?.last, "after", this.start && this.start + rows],
      last: [null, "before", null],
    };
    const [place, direction, start] = moves[where];
    if (where === "last" && this.count?.exact) this.start = Math.max(1, this.count.rows - this.query.size + 1);
    else this.start = start;
    Object.assign(this.query, { place, direction });
    this.active.r = Math.max(0, this.active.r === -1 ? -1 : 0);
    await this.load();
  }

  drawStatus() {
    const rows = this.page?.rows.length ?? 0;
    const place = rows && this.start ? `rows ${this.start.toLocaleString("en")}–${(this.start + rows - 1).toLocaleString("en")} of ` : "";
    const counted = this.count ? this.count.text : "…";
    this.status.textContent = `${place}${counted}${this.page?.ms ? ` · ${this.page.ms} ms` : ""}`;
    const { pager, page } = this;
    const off = { first: !page?.has_previous, previous: !page?.has_previous, next: !page?.has_next, last: !page?.has_next };
    for (const [name, isOff] of Object.entries(off)) {
      // A disabled button would lose the focus of somebody who turns pages by key.
      pager[name].setAttribute("aria-disabled", String(isOff));
    }
  }

  // -- filters ------------------------------------------------------------------------------------

  addFilter(column = null) {
    const comparable = this.table.columns.filter((c) => !c.secret);
    this.drawFilters([...this.query.filters, { column: (column ?? comparable[0]).name ?? column, operator: "contains", value: "", upper: "", items: [], isNew: true }]);
    this.filterBox.querySelector(".ph-filter:last-of-type select")?.focus();
  }

  drawFilters(filters = this.query.filters) {
    const boxes = filters.map((filter, n) => this.drawFilter(filter, n, filters));
    const match = h("select", { "aria-label": "How filters combine", onchange: (event) => this.go({ match: event.target.value }) },
      h("option", { value: "all", selected: this.query.match === "all" }, "all hold"), h("option", { value: "any", selected: this.query.match === "any" }, "one holds"));
    this.filterBox.replaceChildren(...boxes, ...(filters.length > 1 ? [match] : []),
      ...(filters.length ? [button("Apply", () => this.applyFilters()), button("Clear filters", () => this.go({ filters: [], match: "all" }))] : []));
    this.filterBox.hidden = !filters.length;
  }

  drawFilter(filter, n, filters) {
    const columns = h("select", { "aria-label": `Filter ${n + 1}: column` },
      ...this.table.columns.map((c) => h("option", { value: c.name, selected: c.name === filter.column }, c.name)));
    const operators = h("select", { "aria-label": `Filter ${n + 1}: comparison`, onchange: () => redraw() },
      ...this.info.operators.map((o) => h("option", { value: o, selected: o === filter.operator }, o)));
    const enter = (event) => { if (event.key === "Enter") this.applyFilters(); };
    const input = (name, value, label) => h("input", { type: "text", name, value, "aria-label": `Filter ${n + 1}: ${label}`, onkeydown: enter, placeholder: label });
    const box = h("div", { class: "ph-filter", role: "group", "aria-label": `Filter ${n + 1}` });
    const fields = h("span");
    const redraw = () => {
      const operator = operators.value;
      if (OPERATORS_WITHOUT_VALUE.has(operator)) fields.replaceChildren();
      else if (operator === "between") fields.replaceChildren(input("value", filter.value, "from"), input("upper", filter.upper, "to"));
      else if (operator === "in") fields.replaceChildren(h("input", { type: "text", name: "items", value: toTSV([filter.items]).replace(/\t/g, ", "), "aria-label": `Filter ${n + 1}: values`, placeholder: "a, b, c", onkeydown: enter }));
      else fields.replaceChildren(input("value", filter.value, "value"));
    };
    redraw();
    box.append(columns, operators, fields, button("✕", () => { filters.splice(n, 1); this.go({ filters: filters.filter((f) => !f.isNew) }); }, { "aria-label": `Remove filter ${n + 1}` }));
    box.read = () => {
      const value = (name) => fields.querySelector(`[name=${name}]`)?.value ?? "";
      // Values of `in` stand between commas, one that holds a comma in quotes.
      const items = fields.querySelector("[name=items]") ? fromTSV(value("items").replace(/\s*,\s*(?=(?:[^"]*"[^"]*")*[^"]*$)/g, "\t"))[0] : [];
      return { column: columns.value, operator: operators.value, value: value("value"), upper: value("upper"), items };
    };
    return box;
  }

  applyFilters() { this.go({ filters: [...this.filterBox.querySelectorAll(".ph-filter")].map((box) => box.read()) }); }

  // -- columns: order, width, pinned, hidden ------------------------------------------------------

  layout() {
    const names = this.table.columns.map((c) => c.name);
    const kept = this.layouts[this.table.name] ?? {};
    const order = [...(kept.order ?? []).filter((n) => names.includes(n)), ...names.filter((n) => !(kept.order ?? []).includes(n))];
    this.layouts[this.table.name] = { order, hidden: kept.hidden ?? [], pinned: kept.pinned ?? [], widths: kept.widths ?? {} };
    return this.layouts[this.table.name];
  }

  keepLayout() {
    localStorage.setItem(`pharmdb-studio-layout:${this.info.title}`, JSON.stringify(this.layouts));
    this.draw();
    if (this.shown === "columns") this.drawColumns();
  }

  visibleColumns() {
    const { order, hidden, pinned } = this.layout();
    const shown = order.filter((name) => !hidden.includes(name));
    return [...shown.filter((n) => pinned.includes(n)), ...shown.filter((n) => !pinned.includes(n))].map((name) => this.table.columns.find((c) => c.name === name));
  }

  width(column) {
    const usual = { integer: 90, boolean: 80, datetime: 200, date: 110, number: 90, json: 260, password: 130, enum: 110 };
    const wrong = this.changes.some((c) => c.table === this.table.name && c.problems.some((p) => p.column === column.name));
    // A sentence in the cell needs room.
    if (wrong) return Math.max(300, this.layout().widths[column.name] ?? 0);
    return this.layout().widths[column.name] ?? Math.max(usual[column.kind] ?? 220, column.name.length * 9 + 34);
  }

  resize(column, by) { this.layout().widths[column.name] = Math.max(NARROWEST, this.width(column) + by); this.keepLayout(); }

  move(column, by) {
    const shown = this.visibleColumns().map((c) => c.name);
    const { order } = this.layout();
    const to = shown[shown.indexOf(column.name) + by];
    if (!to) return;
    order.splice(order.indexOf(column.name), 1);
    order.splice(order.indexOf(to) + (by > 0 ? 1 : 0), 0, column.name);
    this.keepLayout();
  }

  toggle(list, column) {
    const names = this.layout()[list];
    const at = names.indexOf(column.name);
    if (at >= 0) names.splice(at, 1);
    else if (list !== "hidden" || this.visibleColumns().length > 1) names.push(column.name);
    this.keepLayout();
  }

  drawColumns() {
    const { hidden, pinned, order } = this.layout();
    const check = (list, c, label) => h("input", { type: "checkbox", "aria-label": `${label} ${c.name}`, checked: (list === "hidden") !== (list === "hidden" ? hidden : pinned).includes(c.name), onchange: () => this.toggle(list, c) });
    const rows = order.map((name) => this.table.columns.find((c) => c.name === name)).map((c) => h("tr", {},
      h("th", { scope: "row" }, c.name),
      h("td", {}, `${c.type} · ${KIND_NAMES[c.kind]}${c.values.length ? `: ${c.values.join(", ")}` : ""}`),
      h("td", {}, [c.key && "primary key", c.unique && "unique", c.references && `→ ${c.references.join(".")}`].filter(Boolean).join(", ")),
      h("td", {}, c.nullable ? "may be NULL" : "not NULL"),
      h("td", {}, c.default),
      h("td", {}, c.doc),
      h("td", {}, check("hidden", c, "show")), h("td", {}, check("pinned", c, "pin")),
      h("td", {}, button("↑", () => this.move(c, -1), { "aria-label": `Move ${c.name} to the front` }), button("↓", () => this.move(c, 1), { "aria-label": `Move ${c.name} to the back` }),
        button("−", () => this.resize(c, -30), { "aria-label": `Make ${c.name} narrower` }), button("+", () => this.resize(c, 30), { "aria-label": `Make ${c.name} wider` })),
    ));
    const focused = this.panels.columns.contains(document.activeElement) ? document.activeElement.getAttribute("aria-label") : null;
    const notes = [this.table.model && `Model ${this.table.model}.`, this.table.readOnly && `Read-only: ${this.table.readOnly}.`,
      this.table.children.length && `Referred to by ${this.table.children.map((c) => `${c.table}.${c.column} (on delete ${c.on_delete.toLowerCase()})`).join(", ")}.`].filter(Boolean).join(" ");
    this.panels.columns.replaceChildren(h("p", {}, notes), h("div", { class: "ph-scroll", tabindex: "0", role: "region", "aria-label": "Columns" }, h("table", { class: "ph-plain" },
      h("caption", {}, `Columns of ${this.table.name}`),
      h("thead", {}, h("tr", {}, ...["column", "type", "key", "NULL", "default", "description", "shown", "pinned", "place and width"].map((t) => h("th", { scope: "col" }, t)))),
      h("tbody", {}, ...rows))), button("Usual layout", () => { delete this.layouts[this.table.name]; this.keepLayout(); }));
    if (focused) [...this.panels.columns.querySelectorAll("[aria-label]")].find((e) => e.getAttribute("aria-label") === focused)?.focus();
  }

  // -- the grid -----------------------------------------------------------------------------------

  // What the grid shows: rows that are to be added first, then the page's.
  lines() {
    const added = this.changes.filter((c) => c.kind === "insert" && c.table === this.table.name).map((change) => ({ change, isNew: true, key: [], cells: [], id: `new ${change.id}` }));
    const rows = (this.page?.rows ?? []).map((row, n) => ({ ...row, change: this.changeOf(row.key), isNew: false, id: row.key.length ? JSON.stringify(row.key) : `row ${n}` }));
    return [...added, ...rows];
  }

  changeOf(key) { return this.table.readOnly ? undefined : this.changes.find((c) => c.kind !== "insert" && c.table === this.table.name && sameKey(c.key, key)); }

  original(line, column) { return line.isNew ? undefined : line.cells[this.table.columns.indexOf(column)]; }

  // The cell as it would be saved: staged, or else what the database holds; undefined where its default will be.
  current(line, column) {
    if (column.kind === "password" && line.change?.password !== undefined) return { t: "••••••••", m: true };
    return line.change && column.name in line.change.values ? line.change.values[column.name] : this.original(line, column);
  }

  isStaged(line, column) {
    return Boolean(line.change && (column.name in line.change.values || (column.kind === "password" && line.change.password !== undefined)));
  }

  get canEdit() { return !this.table.readOnly && (this.info.environment !== "production" || this.info.unlocked); }

  draw() {
    const columns = (this.columns = this.visibleColumns());
    const rows = (this.shownLines = this.lines());
    const hadFocus = this.grid.contains(document.activeElement);
    this.active.r = Math.min(this.active.r, rows.length - 1);
    this.active.c = Math.min(this.active.c, columns.length - 1);
    this.grid.setAttribute("aria-label", `Rows of ${this.table.name}`);
    this.grid.setAttribute("aria-colcount", columns.length + 1);
    this.grid.setAttribute("aria-rowcount", this.count?.exact ? this.count.rows + 1 : -1);
    this.grid.setAttribute("aria-readonly", String(!this.canEdit));
    let left = 38;
    const { pinned } = this.layout();
    const offsets = columns.map((c) => { if (!pinned.includes(c.name)) return null; const at = left; left += this.width(c); return at; });
    this.cells = new Map();
    const head = h("tr", { role: "row", "aria-rowindex": 1 }, this.cellElement("th", -1, -1, { role: "columnheader", scope: "col", class: "ph-mark", "aria-label": "selected and staged" }, "✓"),
      ...columns.map((c, n) => this.headCell(c, n, offsets[n])));
    const body = rows.map((line, r) => this.drawLine(line, r, columns, offsets));
    this.grid.replaceChildren(
      h("colgroup", {}, h("col", { style: "width:38px" }), ...columns.map((c) => h("col", { style: `width:${this.width(c)}px` }))),
      h("thead", { role: "rowgroup" }, head), h("tbody", { role: "rowgroup" }, ...body));
    this.grid.style.width = `${38 + columns.reduce((sum, c) => sum + this.width(c), 0)}px`;
    this.root.dataset.table = this.table.name;
    this.root.dataset.rows = String(this.page?.rows.length ?? 0);
    for (const b of [this.addButton, this.duplicateButton, this.deleteButton]) b.hidden = !this.canEdit;
    this.relatedButton.hidden = !this.table.children.length;
    this.mark();
    if (hadFocus) this.focusCell(false);
    this.drawStatus();
    this.drawStaging();
  }

  cellElement(tag, r, c, properties, ...children) {
    const cell = h(tag, { tabindex: "-1", "aria-colindex": c + 2, ...properties }, ...children);
    cell.at = { r, c };
    this.cells.set(`${r}:${c}`, cell);
    return cell;
  }

  headCell(column, n, left) {
    const at = this.query.sort.findIndex(([name]) => name === column.name);
    const down = at >= 0 && this.query.sort[at][1];
    const order = at < 0 ? "" : `${down ? " ▼" : " ▲"}${this.query.sort.length > 1 ? at + 1 : ""}`;
    const hint = `${column.type}${column.nullable ? ", may be NULL" : ""}${column.doc ? `: ${column.doc}` : ""}`;
    const grip = h("span", { class: "ph-grip", "aria-hidden": "true" });
    grip.addEventListener("pointerdown", (event) => this.startResize(event, column));
    const cell = this.cellElement("th", -1, n, {
      role: "columnheader", scope: "col", title: hint, draggable: "true",
      class: left === null ? "" : "ph-pinned", style: left === null ? undefined : `left:${left}px`,
      "aria-sort": at < 0 ? "none" : down ? "descending" : "ascending",
    }, h("span", { class: "ph-name" }, column.name + order), h("span", { class: "ph-kind" }, `${column.key ? "key, " : column.references ? "→ " : ""}${SHORT_NAMES[column.kind] ?? KIND_NAMES[column.kind]}`), grip);
    cell.addEventListener("click", (event) => { if (event.target !== grip) this.sortBy(column, event.shiftKey); });
    cell.addEventListener("dragstart", (event) => { if (this.resizing) event.preventDefault(); else event.dataTransfer.setData("text/x-pharmdb-column", column.name); });
    cell.addEventListener("dragover", (event) => event.preventDefault());
    cell.addEventListener("drop", (event) => {
      event.preventDefault();
      const dragged = this.columns.findIndex((c) => c.name === event.dataTransfer.getData("text/x-pharmdb-column"));
      if (dragged >= 0 && dragged !== n) this.move(this.columns[dragged], n - dragged);
    });
    return cell;
  }

  startResize(event, column) {
    event.preventDefault();
    event.stopPropagation();
    this.resizing = true;
    let x = event.clientX;
    const from = this.width(column);
    const move = (e) => { this.layout().widths[column.name] = Math.max(NARROWEST, from + e.clientX - x); this.draw(); };
    const up = () => { window.removeEventListener("pointermove", move); this.resizing = false; this.keepLayout(); };
    window.addEventListener("pointermove", move);
    window.addEventListener("pointerup", up, { once: true });
  }

  sortBy(column, add) {
    if (column.secret) { this.say(`${column.name} is a secret: it can't be sorted by`, true); return; }
    const now = this.query.sort.find(([name]) => name === column.name);
    const others = add ? this.query.sort.filter(([name]) => name !== column.name) : [];
    // Ascending, descending, not at all.
    const next = !now ? [[column.name, false]] : !now[1] ? [[column.name, true]] : [];
    this.go({ sort: [...others, ...next] });
  }

  drawLine(line, r, columns, offsets) {
    const change = line.change;
    const problems = change?.problems ?? [];
    const whole = problems.find((p) => !p.column);
    const mark = change?.kind === "delete" ? "✕" : line.isNew ? "+" : change ? "●" : this.selected.has(line.id) ? "✓" : "";
    const said = change?.kind === "delete" ? "to be deleted" : line.isNew ? "to be added" : change ? "changed" : this.selected.has(line.id) ? "selected" : "not selected";
    const row = h("tr", {
      role: "row", "aria-rowindex": (this.start ?? 1) + r + 1, "aria-selected": String(this.selected.has(line.id)), title: whole?.sentence,
      class: [change?.kind === "delete" && "ph-deleted", line.isNew && "ph-added", whole && "ph-wrong"].filter(Boolean).join(" "),
    }, this.cellElement("td", r, -1, { role: "gridcell", class: "ph-mark", "aria-label": `row ${r + 1}, ${said}` }, mark));
    columns.forEach((column, c) => row.append(this.drawCell(line, column, r, c, offsets[c])));
    return row;
  }

  drawCell(line, column, r, c, left) {
    const cell = this.current(line, column);
    const staged = this.isStaged(line, column);
    const problem = line.change?.problems?.find((p) => p.column === column.name);
    const before = staged && !line.isNew ? `was ${textOf(this.original(line, column)) ?? "NULL"}` : null;
    const classes = [`ph-${column.kind}`, staged && "ph-staged", problem && "ph-wrong", left !== null && "ph-pinned", cell === null && "ph-null", cell === "" && "ph-blank"];
    const td = this.cellElement("td", r, c, {
      role: "gridcell", class: classes.filter(Boolean).join(" "), style: left === null ? undefined : `left:${left}px`, dir: "auto",
      title: [problem?.sentence, before].filter(Boolean).join(" · ") || undefined,
      "aria-invalid": problem ? "true" : undefined, "aria-readonly": this.canEdit && column.editable ? undefined : "true",
      "data-column": column.name,
    }, ...this.content(cell, column));
    if (column.references && typeof cell === "string") {
      td.append(h("button", { type: "button", class: "ph-follow", tabindex: "-1", "aria-label": `go to ${column.references[0]} ${cell}`, onclick: () => this.follow(column, cell) }, "→"));
    }
    if (problem) td.append(h("span", { class: "ph-sentence" }, problem.sentence));
    return td;
  }

  content(cell, column) {
    if (cell === undefined) return [h("span", { class: "ph-quiet" }, column.default ? "default" : column.kind === "password" ? "type a password" : "—")];
    if (cell === null) return [h("span", { class: "ph-quiet" }, "NULL")];
    const text = textOf(cell);
    if (text === "") return [h("span", { class: "ph-quiet" }, "empty")];
    if (column.kind === "boolean") return [text === "true" ? "☑ true" : "☐ false"];
    const shown = visible(text);
    const parts = this.query.search && !isMasked(cell) ? this.hits(shown) : [shown];
    return isCut(cell) ? [...parts, h("span", { class: "ph-quiet" }, `… ${cell.n.toLocaleString("en")} characters`)] : parts;
  }

  hits(text) {
    const wanted = asciiLower(visible(this.query.search));
    const lower = asciiLower(text);
    const parts = [];
    let from = 0;
    for (let at = lower.indexOf(wanted); at >= 0; at = lower.indexOf(wanted, from)) {
      parts.push(text.slice(from, at), h("mark", {}, text.slice(at, at + wanted.length)));
      from = at + wanted.length;
    }
    return [...parts, text.slice(from)].filter((part) => part !== "");
  }

  // -- moving and selecting -----------------------------------------------------------------------

  at(element) {
    for (let e = element; e && e !== this.grid; e = e.parentElement) if (e.at) return e.at;
    return null;
  }

  range() {
    const { r, c } = this.active;
    const a = this.anchor ?? this.active;
    return { top: Math.min(r, a.r), bottom: Math.max(r, a.r), left: Math.max(0, Math.min(c, a.c)), right: Math.max(c, a.c) };
  }

  mark() {
    const { top, bottom, left, right } = this.range();
    const many = this.anchor !== null;
    for (const [place, cell] of this.cells) {
      const [r, c] = place.split(":").map(Number);
      const on = many && r >= top && r <= bottom && c >= left && c <= right && r >= 0;
      cell.classList.toggle("ph-selected", on);
      if (r >= 0) cell.setAttribute("aria-selected", String(on || (c === -1 && this.selected.has(this.shownLines[r]?.id))));
      cell.tabIndex = r === this.active.r && c === this.active.c ? 0 : -1;
    }
  }

  focusCell(scroll = true) {
    const cell = this.cells.get(`${this.active.r}:${this.active.c}`);
    if (!cell) return;
    cell.focus({ preventScroll: !scroll });
    if (scroll) cell.scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  goTo(r, c, extend = false) {
    if (extend) this.anchor ??= { ...this.active };
    else this.anchor = null;
    this.active = { r: Math.max(extend ? 0 : -1, Math.min(r, this.shownLines.length - 1)), c: Math.max(extend ? 0 : -1, Math.min(c, this.columns.length - 1)) };
    this.mark();
    this.focusCell();
  }

  gridMouse(event) {
    const at = this.at(event.target);
    if (!at || event.button !== 0 || event.target.closest("button, .ph-grip")) return;
    if (at.r < 0) { this.active = { ...at }; this.anchor = null; this.mark(); return; }
    event.preventDefault();
    if (at.c === -1) { this.goTo(at.r, at.c); this.toggleRow(at.r); return; }
    this.goTo(at.r, at.c, event.shiftKey);
    this.dragging = true;
    window.addEventListener("mouseup", () => { this.dragging = false; }, { once: true });
  }

  gridDrag(event) {
    const at = this.dragging && this.at(event.target);
    if (at && at.r >= 0 && at.c >= 0 && (at.r !== this.active.r || at.c !== this.active.c)) this.goTo(at.r, at.c, true);
  }

  toggleRow(r) {
    if (r < 0) return;
    const { id } = this.shownLines[r];
    if (!this.selected.delete(id)) this.selected.add(id);
    this.draw();
  }

  gridKey(event) {
    const at = this.at(event.target);
    if (!at || event.isComposing || (event.target.tagName === "BUTTON" && event.key === "Enter")) return;
    const { r, c } = this.active;
    const control = event.ctrlKey || event.metaKey;
    const column = this.columns[c];
    const stop = () => { event.preventDefault(); event.stopPropagation(); };
    if (r === -1 && c >= 0) {
      if (event.key === "Enter") { stop(); this.sortBy(column, event.shiftKey); return; }
      if (event.altKey && (event.key === "ArrowLeft" || event.key === "ArrowRight")) {
        stop();
        const by = event.key === "ArrowRight" ? 1 : -1;
        if (event.shiftKey) this.resize(column, by * 20);
        else { this.active.c = Math.max(0, Math.min(this.columns.length - 1, c + by)); this.move(column, by); }
        return;
      }
      if (event.key === "p" || event.key === "P") { stop(); this.toggle("pinned", column); return; }
      if (event.key === "h" || event.key === "H") { stop(); this.toggle("hidden", column); return; }
    }
    const last = this.shownLines.length - 1;
    const moves = {
      ArrowDown: [r + 1, c], ArrowUp: [r - 1, c], ArrowRight: [r, c + 1], ArrowLeft: [r, c - 1],
      Home: control ? [0, 0] : [r, 0], End: control ? [last, this.columns.length - 1] : [r, this.columns.length - 1],
    };
    if (moves[event.key] && !event.altKey) { stop(); this.goTo(...moves[event.key], event.shiftKey); return; }
    if (event.key === "PageDown") { stop(); if (this.page?.has_next) this.turn("next").then(() => this.focusCell()); return; }
    if (event.key === "PageUp") { stop(); if (this.page?.has_previous) this.turn("previous").then(() => this.focusCell()); return; }
    if (control && event.key === "a") { stop(); this.anchor = { r: 0, c: 0 }; this.active = { r: last, c: this.columns.length - 1 }; this.mark(); this.focusCell(); return; }
    if (control && event.key === "s") { stop(); this.save(); return; }
    if (r < 0) return;
    const line = this.shownLines[r];
    if (event.key === " " && (c === -1 || !this.canEdit || event.shiftKey)) { stop(); this.toggleRow(r); return; }
    if (event.altKey && event.key === "Enter") { stop(); this.showRelated(); return; }
    if (c === -1) return;
    if (control && event.key === "Enter") { stop(); const cell = this.current(line, column); if (column.references && typeof cell === "string") this.follow(column, cell); return; }
    if (event.key === "Enter" || event.key === "F2") { stop(); this.edit(this.active); return; }
    if (event.key === "Escape" && this.anchor) { stop(); this.anchor = null; this.mark(); return; }
    if (event.key === "Delete") { stop(); this.clearCells(); return; }
    if (event.key === " " && column.kind === "boolean") { stop(); this.stage(line, column, textOf(this.current(line, column)) === "true" ? "false" : "true"); this.draw(); return; }
    if (event.key.length === 1 && !control && !event.altKey) { stop(); this.edit(this.active, event.key); }
  }

  clearCells() {
    const { top, bottom, left, right } = this.range();
    const refused = new Set();
    for (let r = top; r <= bottom; r++) {
      for (let c = left; c <= right; c++) {
        const column = this.columns[c];
        if (!this.canEdit || !column.editable || column.kind === "password") continue;
        if (column.nullable) this.stage(this.shownLines[r], column, null);
        else refused.add(column.name);
      }
    }
    this.draw();
    if (refused.size) this.say(`${[...refused].join(", ")} can't be NULL`, true);
  }

  // -- copy and paste -----------------------------------------------------------------------------

  copy(event) {
    if (this.active.r < 0) return;
    const { top, bottom, left, right } = this.range();
    const rows = [];
    let cut = 0;
    for (let r = top; r <= bottom; r++) {
      rows.push(this.columns.slice(left, right + 1).map((column) => {
        const cell = this.current(this.shownLines[r], column);
        if (isCut(cell)) cut++;
        return textOf(cell ?? null);
      }));
    }
    event.preventDefault();
    event.clipboardData.setData("text/plain", toTSV(rows));
    this.say(`${plural((bottom - top + 1) * (right - left + 1), "cell")} copied${cut ? `; ${plural(cut, "long value")} cut off: export them instead` : ""}`, cut > 0);
  }

  paste(event) {
    if (this.active.r < 0 || !event.clipboardData) return;
    event.preventDefault();
    if (!this.canEdit) { this.say(this.whyNot(), true); return; }
    const rows = fromTSV(event.clipboardData.getData("text/plain"));
    const { top, left, bottom, right } = this.range();
    // One value fills the whole selection, as in a spreadsheet.
    const fill = rows.length === 1 && rows[0].length === 1 && this.anchor;
    const height = fill ? bottom - top + 1 : rows.length;
    let staged = 0;
    let outside = 0;
    for (let y = 0; y < height; y++) {
      const cells = fill ? Array(right - left + 1).fill(rows[0][0]) : rows[y];
      for (let x = 0; x < cells.length; x++) {
        const column = this.columns[left + x];
        const line = this.shownLines[top + y];
        if (!column || !line || !column.editable || column.kind === "password" || line.change?.kind === "delete") { outside++; continue; }
        const now = this.current(line, column);
        // A spreadsheet knows no NULL: what was empty in either way stays what it was.
        if (cells[x] === "" && (now === null || now === "" || now === undefined)) continue;
        this.stage(line, column, cells[x] === "" && column.nullable ? null : cells[x]);
        staged++;
      }
    }
    this.draw();
    this.say(`${plural(staged, "cell")} pasted and staged${outside ? `; ${plural(outside, "value")} did not fit into the table or can't be edited` : ""}`, outside > 0);
  }

  whyNot() {
    if (this.table.readOnly) return `read-only: ${this.table.readOnly}`;
    return "production is read-only until it is unlocked";
  }

  // -- editing ------------------------------------------------------------------------------------

  async edit({ r, c }, typed = null) {
    const line = this.shownLines[r];
    const column = this.columns[c];
    if (!line || !column) return;
    this.goTo(r, c);
    if (!this.canEdit || !column.editable || line.change?.kind === "delete") {
      const cell = this.current(line, column);
      if (isCut(cell) && line.key.length) { await this.showWhole(line, column); return; }
      this.say(!this.canEdit ? this.whyNot() : line.change?.kind === "delete" ? "this row is to be deleted" : `${column.name} can't be edited here`, true);
      return;
    }
    let text = textOf(this.current(line, column) ?? null);
    const original = this.current(line, column);
    if (isMasked(original) && column.kind !== "password") { this.say(`a part of ${column.name} is masked: it can't be edited here`, true); return; }
    if (isCut(original) && !this.isStaged(line, column)) {
      try { text = (await this.request("cell", { table: this.table.name, key: line.key, column: column.name })).text; } catch (error) { this.fail(error); return; }
    }
    this.openEditor(line, column, text, typed);
  }

  openEditor(line, column, text, typed) {
    const wrong = h("p", { role: "alert", class: "ph-sentence" });
    const name = `${column.name}, ${KIND_NAMES[column.kind]}`;
    const id = this.id("editor");
    let control;
    let read = () => control.value;
    const long = column.kind === "json" || (["text", "raw", "any"].includes(column.kind) && ((text ?? "").length > 60 || /[\r\n]/.test(text ?? "")));
    if (column.kind === "enum") {
      control = h("select", { id }, ...column.values.map((v) => h("option", { value: v, selected: v === text }, v)));
    } else if (column.kind === "boolean") {
      control = h("input", { type: "checkbox", id, checked: text === "true" });
      read = () => String(control.checked);
    } else if (column.kind === "datetime") {
      const value = (text ?? "").replace(" ", "T").replace(/(\.\d{3})\d+$/, "$1");
      control = h("input", { type: "datetime-local", step: "0.001", id, value });
      // Microseconds are kept, unless the time is changed.
      read = () => (control.value === value || control.value === this.timeOf(value) ? text ?? "" : control.value.replace("T", " "));
    } else if (column.kind === "password") {
      control = h("input", { type: "password", id, autocomplete: "new-password" });
    } else if (long) {
      control = h("textarea", { id, rows: "8", cols: "60", value: typed ?? text ?? "", spellcheck: "false" });
    } else {
      control = h("input", { type: "text", id, value: typed ?? text ?? "", spellcheck: "false", inputmode: ["integer", "number"].includes(column.kind) ? "decimal" : undefined });
    }
    const nothing = column.nullable ? h("input", { type: "checkbox", id: `${id}-null`, checked: text === null && typed === null && !line.isNew }) : null;
    control.addEventListener("input", () => { if (nothing) nothing.checked = false; check(); });
    const check = () => { wrong.textContent = nothing?.checked ? "" : this.misfit(column, read()); return !wrong.textContent; };
    const done = () => {
      if (!check()) { control.focus(); return; }
      if (column.kind === "password") this.stagePassword(line, control.value);
      else this.stage(line, column, nothing?.checked ? null : read(), text);
      close();
    };
    const close = () => { dialog.close(); dialog.remove(); this.draw(); this.focusCell(); };
    const dialog = h("dialog", { class: "ph-dialog ph-editor", "aria-label": `Edit ${column.name}`, tabindex: "-1" },
      h("label", { for: id }, name), control,
      nothing && h("span", { class: "ph-null-choice" }, nothing, h("label", { for: `${id}-null` }, "NULL")),
      wrong, h("div", { class: "ph-bar" }, button("OK", done), button("Cancel", close),
        column.kind === "datetime" && button("Now", () => { control.value = new Date().toISOString().slice(0, 19); if (nothing) nothing.checked = false; check(); }),
        column.kind === "json" && button("Format", () => { if (check()) control.value = JSON.stringify(JSON.parse(control.value), null, 2); }),
        h("span", { class: "ph-quiet" }, long ? "Ctrl+Enter: OK" : "")));
    dialog.addEventListener("cancel", (event) => { event.preventDefault(); close(); });
    dialog.addEventListener("keydown", (event) => {
      event.stopPropagation();
      if (event.key === "Enter" && !event.isComposing && event.target === control && (!long || event.ctrlKey)) { event.preventDefault(); done(); }
    });
    this.root.append(dialog);
    dialog.showModal();
    const box = this.cells.get(`${this.active.r}:${this.active.c}`)?.getBoundingClientRect();
    if (box) {
      dialog.style.left = `${Math.max(8, Math.min(box.left, innerWidth - dialog.offsetWidth - 8))}px`;
      dialog.style.top = `${Math.max(8, Math.min(box.bottom, innerHeight - dialog.offsetHeight - 8))}px`;
    }
    control.focus();
    if (control.select && typed === null) control.select();
  }

  // A browser writes a time without its last zeros.
  timeOf(value) { return value.replace(/(\.\d*?)0+$/, "$1").replace(/\.$/, "").replace(/(T\d\d:\d\d):00$/, "$1"); }

  misfit(column, text) {
    if (column.kind === "json") {
      try { JSON.parse(text); } catch (error) { return `not JSON: ${error.message}`; }
    }
    if (column.kind === "integer" && !/^\s*[+-]?\d{1,19}\s*$/.test(text)) return `${column.name} takes a whole number`;
    if (column.kind === "number" && (text.trim() === "" || Number.isNaN(Number(text)))) return `${column.name} takes a number`;
    if (["datetime", "date"].includes(column.kind) && !text) return `${column.name} takes a ${column.kind === "date" ? "date" : "time"}`;
    if (column.kind === "password" && text.length < 8) return "a password has at least 8 characters";
    return "";
  }

  async showWhole(line, column) {
    try {
      const { text } = await this.request("cell", { table: this.table.name, key: line.key, column: column.name });
      this.ask(`${column.name}`, [h("pre", { class: "ph-whole", tabindex: "0" }, text ?? "NULL")], []);
    } catch (error) { this.fail(error); }
  }

  changeFor(line) {
    if (line.change) return line.change;
    const before = Object.fromEntries(this.table.columns.map((c, n) => [c.name, line.cells[n]]));
    const change = { id: this.nextChange++, kind: "update", table: this.table.name, key: line.key, values: {}, before, cascade: {}, problems: [] };
    this.changes.push(change);
    line.change = change;
    return change;
  }

  stage(line, column, text, whole = undefined) {
    if (line.change?.kind === "delete") return;
    const original = this.original(line, column);
    const unchanged = !line.isNew && (isCut(original) ? text === whole && !this.isStaged(line, column) : text === textOf(original ?? null));
    if (unchanged && !line.change) return;
    const change = this.changeFor(line);
    if (unchanged) delete change.values[column.name];
    else change.values[column.name] = text;
    change.problems = change.problems.filter((p) => p.column !== column.name);
    this.prune(change);
  }

  stagePassword(line, password) {
    const change = this.changeFor(line);
    change.password = password;
    change.problems = change.problems.filter((p) => this.table.columns.find((c) => c.name === p.column)?.kind !== "password");
    this.keepDraft();
  }

  prune(change) {
    if (change.kind === "update" && !Object.keys(change.values).length && change.password === undefined) this.changes = this.changes.filter((c) => c !== change);
    this.keepDraft();
  }

  addRow(values = {}) {
    if (!this.canEdit) { this.say(this.whyNot(), true); return; }
    this.changes.push({ id: this.nextChange++, kind: "insert", table: this.table.name, key: [], values, before: {}, cascade: {}, problems: [] });
    this.active = { r: this.lines().filter((l) => l.isNew).length - 1, c: 0 };
    this.anchor = null;
    this.keepDraft();
    this.draw();
    this.focusCell();
  }

  // The rows that a command is for: those that are selected, or else the one with the focus.
  chosen() {
    const lines = this.shownLines.filter((line, r) => (this.selected.size ? this.selected.has(line.id) : r === this.active.r));
    if (!lines.length) this.say("choose a row first", true);
    return lines;
  }

  async duplicate() {
    for (const line of this.chosen()) {
      const values = {};
      for (const column of this.table.columns) {
        const cell = this.current(line, column);
        // The key and what the database makes itself are new; a password must be typed.
        if ((column.key && column.default) || !column.editable || isMasked(cell) || cell === undefined) continue;
        try {
          values[column.name] = isCut(cell) ? (await this.request("cell", { table: this.table.name, key: line.key, column: column.name })).text : textOf(cell);
        } catch (error) { this.fail(error); return; }
      }
      this.addRow(values);
    }
    this.selected.clear();
    this.draw();
    this.focusCell();
  }

  async askDelete() {
    const lines = this.chosen();
    const dropped = lines.filter((l) => l.isNew).map((l) => l.change);
    if (dropped.length) this.changes = this.changes.filter((c) => !dropped.includes(c));
    const rows = lines.filter((l) => !l.isNew);
    if (!rows.length) { this.keepDraft(); this.draw(); return; }
    let cascades;
    try { ({ cascades } = await this.request("cascade", { table: this.table.name, keys: rows.map((l) => l.key) })); } catch (error) { this.fail(error); return; }
    const totals = new Map();
    for (const c of cascades.flat()) {
      const what = c.on_delete === "CASCADE" ? "deleted with it" : c.on_delete.startsWith("SET") ? `their ${c.column} is set to ${c.on_delete.slice(4)}` : "they forbid the deletion";
      const name = `${c.table} (${c.column}): ${what}`;
      totals.set(name, (totals.get(name) ?? 0) + c.rows);
    }
    const consequences = totals.size
      ? h("ul", {}, ...[...totals].map(([name, n]) => h("li", {}, `${plural(n, "row").replace(/^\d+/, n.toLocaleString("en"))} of ${name}`)))
      : h("p", {}, "Nothing else refers to it.");
    this.ask(`Delete ${plural(rows.length, "row")} of ${this.table.name}?`, [h("p", {}, rows.map((l) => keyText(l.key)).join("; ").slice(0, 300)), consequences], [["Stage the deletion", () => {
      rows.forEach((line, n) => {
        if (line.change) this.changes = this.changes.filter((c) => c !== line.change);
        const before = Object.fromEntries(this.table.columns.map((c, i) => [c.name, line.cells[i]]));
        const cascade = Object.fromEntries(cascades[n].map((c) => [`${c.table}.${c.column}`, c.rows]));
        this.changes.push({ id: this.nextChange++, kind: "delete", table: this.table.name, key: line.key, values: {}, before, cascade, problems: [] });
      });
      this.selected.clear();
      this.keepDraft();
      this.draw();
    }]]);
  }

  ask(title, content, actions) {
    const close = () => { dialog.close(); dialog.remove(); this.focusCell(); };
    const dialog = h("dialog", { class: "ph-dialog", "aria-label": title, tabindex: "-1" }, h("p", { class: "ph-title" }, title), ...content,
      h("div", { class: "ph-bar" }, ...actions.map(([label, action]) => button(label, () => { if (action() !== false) close(); })), button(actions.length ? "Cancel" : "Close", close)));
    dialog.addEventListener("cancel", (event) => { event.preventDefault(); close(); });
    dialog.addEventListener("keydown", (event) => event.stopPropagation());
    this.root.append(dialog);
    dialog.showModal();
    dialog.querySelector("input, pre, button")?.focus();
    return dialog;
  }

  // -- what is staged -----------------------------------------------------------------------------

  drawStaging() {
    const { changes } = this;
    this.staging.hidden = !changes.length;
    this.root.dataset.staged = String(changes.length);
    if (!changes.length) { this.staging.replaceChildren(); return; }
    const items = changes.map((change) => h("li", {}, this.describe(change),
      button("Undo", () => { this.changes = this.changes.filter((c) => c !== change); this.keepDraft(); this.draw(); }, { "aria-label": `Undo: ${this.describe(change)}` }),
      ...change.problems.map((problem) => this.drawProblem(change, problem))));
    this.staging.replaceChildren(
      h("div", { class: "ph-bar" }, h("span", { class: "ph-title" }, `${plural(changes.length, "staged change")}`), button("Save all", () => this.save(), { class: "ph-primary" }), button("Discard all", () => this.discard())),
      h("ul", {}, ...items));
  }

  describe(change) {
    const name = `${change.table} ${change.kind === "insert" ? "(new)" : keyText(change.key)}`;
    if (change.kind === "delete") {
      const taken = Object.entries(change.cascade).map(([table, n]) => `${n} of ${table}`).join(", ");
      return `delete ${name}${taken ? `, and with it ${taken}` : ""}`;
    }
    const short = (text) => (text === null ? "NULL" : text === undefined ? "?" : `“${visible(text.length > 40 ? `${text.slice(0, 40)}…` : text)}”`);
    const parts = Object.entries(change.values).map(([column, text]) => change.kind === "insert" ? `${column} ${short(text)}` : `${column} ${short(textOf(change.before[column] ?? null))} → ${short(text)}`);
    if (change.password !== undefined) parts.push("a new password");
    return `${change.kind === "insert" ? "add" : "change"} ${name}: ${parts.join(", ") || "defaults"}`;
  }

  drawProblem(change, problem) {
    const box = h("p", { class: "ph-sentence" }, problem.sentence);
    if (problem.kind === "conflict" && problem.column) {
      const mine = problem.column in change.values ? change.values[problem.column] : undefined;
      const theirs = textOf(problem.theirs);
      box.append(`: it is now ${theirs === null ? "NULL" : `“${visible(theirs)}”`}, it was ${textOf(change.before[problem.column]) ?? "NULL"}`,
        mine === undefined ? "" : `, yours is ${mine === null ? "NULL" : `“${visible(mine)}”`}`, " ");
      const settle = (keep) => {
        change.before[problem.column] = problem.theirs;
        if (!keep) delete change.values[problem.column];
        change.problems = change.problems.filter((p) => p !== problem);
        this.prune(change);
        this.draw();
      };
      box.append(button(mine === undefined ? "Seen" : "Keep mine", () => settle(true)));
      if (mine !== undefined) box.append(button("Take theirs", () => settle(false)));
    }
    return box;
  }

  async save() {
    if (!this.changes.length) { this.say("nothing is staged"); return; }
    // Overdue, it can be asked for again: the kernel makes the same save once.
    if (this.saving && !this.overdue) return;
    this.saving = true;
    const sent = this.changes.map(({ problems, ...change }) => change);
    const name = this.staged;
    const asSent = new Map(sent.map((change) => [change.id, this.asSent(change)]));
    let outcome;
    try { outcome = await this.request("save", { changes: sent, staged: name }); } catch (error) { this.fail(error); this.saving = this.overdue = false; return; }
    if (this.staged !== name) return; // answered before
    this.saving = this.overdue = false;
    if (outcome.problems.length) {
      for (const change of this.changes) change.problems = outcome.problems.filter((p) => p.change === change.id);
      this.draw();
      this.say(`Nothing was saved: ${outcome.problems.map((p) => p.sentence).join("; ")}`, true);
      return;
    }
    // What was staged or changed while the save was under way stays.
    const done = new Set(outcome.saved);
    this.changes = this.changes.flatMap((change) => {
      if (outcome.differing.includes(change.id)) return [{ ...change, problems: [{ change: change.id, column: "", kind: "conflict", sentence: "another form of this change was saved before: look at the row, then undo or save this one" }] }];
      if (!done.has(change.id)) return [change];
      if (change.kind === "delete" || this.asSent(change) === asSent.get(change.id)) return [];
      return [change.kind === "insert" ? { ...change, kind: "update", key: outcome.keys[change.id], before: {} } : change];
    });
    this.staged = null;
    this.keepDraft();
    if (this.page?.first && this.page.has_previous) Object.assign(this.query, { place: this.page.first, direction: "from" });
    await this.load(true);
    this.say(`${plural(done.size, "change")} ${outcome.again ? "had been saved before" : "saved"}${outcome.warning ? ` · ${outcome.warning}` : ""}${this.changes.length ? ` · ${plural(this.changes.length, "other change")} still staged` : ""}`, Boolean(outcome.warning));
  }

  asSent({ kind, values, password }) { return JSON.stringify([kind, values, password]); }

  discard() {
    this.ask(`Discard ${plural(this.changes.length, "staged change")}?`, [], [["Discard", () => { this.changes = []; this.staged = null; this.keepDraft(); this.draw(); this.say("discarded"); }]]);
  }

  // Staged changes live through a reload of the page, passwords excepted.
  keepDraft() {
    if (!this.info) return; // before the first answer nothing can be staged
    const key = `pharmdb-studio-draft:${this.info.title}`;
    const changes = this.changes.map(({ password, problems, ...change }) => change);
    // The copy that a duplicated or reloaded page has is the same set, and saved once.
    if (changes.length || this.changes.length) this.staged ??= crypto.randomUUID?.() ?? `${this.view}-${Math.random().toString(36).slice(2)}`;
    if (changes.length) sessionStorage.setItem(key, JSON.stringify({ changes, staged: this.staged }));
    else sessionStorage.removeItem(key);
  }

  restoreDraft() {
    try {
      const draft = JSON.parse(sessionStorage.getItem(`pharmdb-studio-draft:${this.info.title}`) ?? "[]");
      const kept = draft.changes ?? draft;
      this.staged = draft.staged ?? null;
      this.changes = kept.filter((c) => this.tables.some((t) => t.name === c.table)).map((change) => ({
        ...change, problems: [],
        // What is masked is compared by a digest that the old kernel took with it.
        before: Object.fromEntries(Object.entries(change.before).filter(([, cell]) => !isMasked(cell))),
      })).filter((c) => c.kind !== "update" || Object.keys(c.values).length);
      this.nextChange = Math.max(0, ...this.changes.map((c) => c.id)) + 1;
    } catch { this.changes = []; }
  }

  // -- relations ----------------------------------------------------------------------------------

  leave(label) { this.trail.push({ label, table: this.table.name, query: structuredClone(this.query), first: this.page?.has_previous ? this.page.first : null, start: this.start }); }

  async follow(column, text) {
    const [table, referred] = column.references;
    this.leave(this.here());
    await this.go({ table, filters: [{ column: referred, operator: "=", value: text, upper: "", items: [] }], match: "all", search: "", sort: [] }, false);
    this.goTo(0, 0);
  }

  here() {
    const parts = this.query.filters.map((f) => `${f.column} ${f.operator} ${f.value}`.trim());
    return [this.table.name, ...parts].join(" · ");
  }

  drawTrail() {
    this.trailBox.hidden = !this.trail.length;
    this.trailBox.replaceChildren(...this.trail.flatMap((step, n) => [button(step.label, () => this.back(n)), " › "]), h("span", { "aria-current": "page" }, this.here()));
  }

  back(n) {
    const step = this.trail[n];
    this.trail = this.trail.slice(0, n);
    this.go({ table: step.table, ...step.query, place: step.first, direction: "from", ...(step.first ? {} : { direction: "after" }), start: step.start }, false);
  }

  async showRelated() {
    const line = this.shownLines[this.active.r];
    if (!line || !line.key.length) { this.say("choose a row first", true); return; }
    let related;
    try { ({ related } = await this.request("related", { table: this.table.name, key: line.key })); } catch (error) { this.fail(error); return; }
    const words = { CASCADE: "deleted with it", "SET NULL": "set to NULL with it" };
    this.relatedBox.hidden = false;
    this.relatedBox.replaceChildren(h("p", { class: "ph-title" }, `What refers to ${this.table.name} ${keyText(line.key)}`), h("ul", {}, ...related.map((r) => h("li", {},
      button(`${r.table} (${r.column}): ${r.count}`, async () => {
        this.leave(`${this.table.name} ${keyText(line.key)}`);
        await this.go({ table: r.table, filters: [{ column: r.column, operator: "=", value: r.value, upper: "", items: [] }], match: "all", search: "", sort: [] }, false);
        this.goTo(0, 0);
      }), h("span", { class: "ph-quiet" }, ` ${words[r.on_delete] ?? "forbids its deletion"}`)))), button("Close", () => { this.relatedBox.hidden = true; this.focusCell(); }));
    this.relatedBox.querySelector("button")?.focus();
  }

  // -- the lock -----------------------------------------------------------------------------------

  drawLock() {
    const production = this.info.environment === "production";
    this.badge.textContent = `${this.info.environment}${production && !this.info.unlocked ? ", read-only" : ""}`;
    this.badge.classList.toggle("ph-production", production);
    this.lockButton.textContent = this.info.unlocked ? "Lock" : "Unlock…";
    this.root.dataset.unlocked = String(this.info.unlocked);
  }

  askLock() {
    if (this.info.unlocked) { this.setLock(""); return; }
    const id = this.id("unlock");
    const what = this.info.environment === "production" ? "edit rows of a production database, and to write with SQL" : "write with SQL";
    const input = h("input", { type: "text", id, autocomplete: "off" });
    const dialog = this.ask("Unlock", [h("p", {}, `To ${what}, type the database's name: ${this.info.name}`), h("label", { for: id }, "Name"), input], [["Unlock", () => { if (input.value) this.setLock(input.value); else this.say(`type the database's name: ${this.info.name}`, true); }]]);
    input.addEventListener("keydown", (event) => { if (event.key === "Enter") dialog.querySelector("button").click(); });
  }

  async setLock(name) {
    try { this.info.unlocked = (await this.request("lock", { name })).unlocked; } catch (error) { this.fail(error); return; }
    this.drawLock();
    this.draw();
    this.say(this.info.unlocked ? "unlocked: writing is allowed" : "locked");
  }

  // -- export -------------------------------------------------------------------------------------

  async export() {
    if (this.exporting) { this.tell("cancel", { request: this.exporting }); return; }
    const format = this.formatSelect.value;
    const name = this.table.name;
    const parts = [];
    let bytes = 0;
    const request = this.request("export", { ...this.wanted(), columns: this.columns.map((c) => c.name), format }, (piece, id) => {
      parts.push(piece);
      bytes += piece.byteLength;
      this.say(`exporting ${name}: ${(bytes / 1e6).toFixed(1)} MB`);
      this.tell("taken", { request: id });
    });
    this.exporting = request.id;
    this.exportButton.textContent = "Stop the export";
    try {
      await request;
      const extension = { csv: "csv", json: "json", markdown: "md", parquet: "parquet" }[format];
      const type = { csv: "text/csv", json: "application/json", markdown: "text/markdown", parquet: "application/vnd.apache.parquet" }[format];
      const url = URL.createObjectURL(new Blob(parts, { type }));
      h("a", { href: url, download: `${name}.${extension}` }).click();
      setTimeout(() => URL.revokeObjectURL(url), 60000);
      this.say(`${name}.${extension}: ${bytes.toLocaleString("en")} bytes`);
    } catch (error) { this.fail(error); }
    this.exporting = null;
    this.exportButton.textContent = "Export";
  }

  // -- SQL ----------------------------------------------------------------------------------------

  buildSQL(id) {
    this.sql = h("textarea", {
      id: id("statement"), rows: "6", spellcheck: "false", "aria-autocomplete": "list", "aria-controls": id("words"),
      oninput: () => this.suggest(), onkeydown: (event) => this.sqlKey(event), onblur: () => this.closeWords(),
    });
    this.words = h("ul", { role: "listbox", id: id("words"), "aria-label": "Tables and columns", class: "ph-words", hidden: true });
    this.seconds = h("input", { type: "number", id: id("seconds"), min: "1", max: "600", value: "30" });
    this.runButton = button("Run", () => this.runSQL(false), { class: "ph-primary" });
    this.planButton = button("Plan", () => this.runSQL(true));
    this.cancelButton = button("Cancel", () => { if (this.sqlRequest) this.tell("cancel", { request: this.sqlRequest }); }, { hidden: true });
    this.sqlResult = h("div", { class: "ph-result" });
    this.panels.sql.append(
      h("label", { for: id("statement") }, "One statement"), h("div", { class: "ph-sql" }, this.sql, this.words),
      h("div", { class: "ph-bar" }, this.runButton, this.planButton, this.cancelButton,
        h("label", { for: id("seconds") }, "time-out, s"), this.seconds, h("span", { class: "ph-quiet" }, "Ctrl+Enter runs, Ctrl+Space completes")),
      this.sqlResult);
  }

  async runSQL(plan) {
    if (this.sqlRequest) return;
    const request = this.request("sql", { sql: this.sql.value, plan, seconds: this.seconds.value });
    this.sqlRequest = request.id;
    this.cancelButton.hidden = false;
    this.sqlResult.replaceChildren(h("p", { role: "status" }, "running…"));
    try {
      const result = await request;
      const rows = result.rows.map((row) => h("tr", {}, ...row.map((text) => h("td", { dir: "auto", class: text === null ? "ph-null" : "" }, text === null ? h("span", { class: "ph-quiet" }, "NULL") : visible(text)))));
      const told = plan ? "plan" : result.columns.length ? `${plural(result.rows.length, "row")}${result.more ? ", and there are more" : ""}` : `${plural(result.changed ?? 0, "row")} changed${result.warning ? ` · ${result.warning}` : ""}`;
      this.sqlResult.replaceChildren(h("p", { role: "status" }, `${told} · ${result.ms} ms`),
        plan ? h("pre", { class: "ph-plan", tabindex: "0" }, result.plan) : "",
        result.columns.length ? h("div", { class: "ph-scroll", tabindex: "0", role: "region", "aria-label": "Result" }, h("table", { class: "ph-plain" },
          h("thead", {}, h("tr", {}, ...result.columns.map((c) => h("th", { scope: "col" }, c)))), h("tbody", {}, ...rows))) : "");
      if (this.info.unlocked && !plan) this.load(true);
    } catch (error) {
      this.sqlResult.replaceChildren(h("p", { role: "alert", class: "ph-sentence" }, [error.sentence, error.expected && `expected: ${error.expected}`, error.next && `next: ${error.next}`].filter(Boolean).join(" · ")));
    }
    this.sqlRequest = null;
    this.cancelButton.hidden = true;
  }

  // Names of tables and columns that begin with the word before the cursor; after `table.` or its alias its columns.
  suggest(asked = false) {
    const before = this.sql.value.slice(0, this.sql.selectionStart);
    const [, qualifier, word] = /(?:(\w+)\.)?(\w*)$/.exec(before);
    if (!asked && !qualifier && word.length < 2) { this.closeWords(); return; }
    let names;
    if (qualifier) {
      const alias = new RegExp(`\\b(\\w+)\\s+(?:as\\s+)?${qualifier}\\b`, "i").exec(this.sql.value)?.[1];
      const table = this.tables.find((t) => t.name === qualifier) ?? this.tables.find((t) => t.name === alias);
      names = (table?.columns ?? []).map((c) => c.name);
    } else {
      names = [...this.tables.map((t) => t.name), ...new Set(this.tables.flatMap((t) => t.columns.map((c) => c.name))), ...WORDS];
    }
    const found = names.filter((n) => n.toLowerCase().startsWith(word.toLowerCase()) && n !== word).slice(0, 12);
    if (!found.length) { this.closeWords(); return; }
    this.wordLength = word.length;
    this.choice = 0;
    this.words.replaceChildren(...found.map((name, n) => h("li", { role: "option", id: this.id(`word-${n}`), "aria-selected": String(n === 0), onmousedown: (event) => { event.preventDefault(); this.choice = n; this.complete(); } }, name)));
    this.words.hidden = false;
    this.sql.setAttribute("aria-activedescendant", this.id("word-0"));
  }

  closeWords() {
    this.words.hidden = true;
    this.sql.removeAttribute("aria-activedescendant");
  }

  complete() {
    const name = this.words.children[this.choice].textContent;
    const at = this.sql.selectionStart;
    this.sql.setRangeText(name, at - this.wordLength, at, "end");
    this.closeWords();
  }

  sqlKey(event) {
    if (event.ctrlKey && event.key === "Enter") { event.preventDefault(); this.closeWords(); this.runSQL(false); return; }
    if (event.ctrlKey && event.key === " ") { event.preventDefault(); this.suggest(true); return; }
    if (this.words.hidden) return;
    const options = [...this.words.children];
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) {
      event.preventDefault();
      this.choice = (this.choice + step + options.length) % options.length;
      options.forEach((o, n) => o.setAttribute("aria-selected", String(n === this.choice)));
      this.sql.setAttribute("aria-activedescendant", options[this.choice].id);
    } else if (event.key === "Enter" || event.key === "Tab") { event.preventDefault(); this.complete(); }
    else if (event.key === "Escape") { event.preventDefault(); this.closeWords(); }
  }

  // -- log and schema -----------------------------------------------------------------------------

  async loadLog() {
    let log;
    try { log = await this.request("log", { since: this.logSince }); } catch (error) { this.fail(error); return; }
    this.statements = [...log.statements.reverse(), ...this.statements].slice(0, 500);
    this.logSince = this.statements[0]?.number ?? 0;
    const statements = this.statements.map((e) => h("tr", {}, h("td", {}, e.at), h("td", {}, h("code", {}, visible(e.statement))), h("td", {}, visible(e.parameters)),
      h("td", {}, e.rows === null ? "" : String(e.rows)), h("td", {}, String(e.ms)), h("td", {}, e.error)));
    const saves = log.saves.flatMap((s) => (s.changes ?? [{ kind: "SQL", table: "", key: [], before: {}, after: { statement: s.statement } }]).map((c) => h("tr", {},
      h("td", {}, s.at.replace("T", " ").replace("+00:00", "")), h("td", {}, s.who), h("td", {}, `${c.kind}${s.state === "saved" ? "" : " (not confirmed)"}`), h("td", {}, c.table), h("td", {}, c.key.join(", ")),
      h("td", {}, visible(JSON.stringify(c.before))), h("td", {}, visible(JSON.stringify(c.after))))));
    const table = (caption, head, rows) => h("div", { class: "ph-scroll", tabindex: "0", role: "region", "aria-label": caption }, h("table", { class: "ph-plain" }, h("caption", {}, caption),
      h("thead", {}, h("tr", {}, ...head.map((t) => h("th", { scope: "col" }, t)))), h("tbody", {}, ...rows)));
    this.panels.log.replaceChildren(button("Refresh", () => this.loadLog()),
      table("Statements, newest first", ["at, UTC", "statement", "parameters", "rows", "ms", "error"], statements),
      table("Saves, newest first", ["at, UTC", "who", "what", "table", "key", "before", "after"], saves));
  }

  async loadPicture() {
    try {
      const { text, buffers } = await this.request("picture");
      const url = URL.createObjectURL(new Blob([buffers[0]], { type: "image/png" }));
      this.panels.schema.replaceChildren(h("img", { src: url, alt: text, onload: () => URL.revokeObjectURL(url) }));
    } catch (error) { this.fail(error); }
  }
}

function render({ model, el }) {
  const studio = new Studio(model, el);
  return () => studio.close();
}

export default { render };
