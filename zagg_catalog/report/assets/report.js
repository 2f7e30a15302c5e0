// The page of a report: unpacks its data, draws the map and the matrix, and answers to pointer,
// keys and search. Texts of others are set as text only, never as HTML.
"use strict";
(() => {
  const $ = (selector) => document.querySelector(selector);
  const root = document.documentElement;
  const facts = JSON.parse($("#facts").textContent);
  const format = (number) => number.toLocaleString("en");
  const plural = (count, one, many) => `${format(count)} ${count === 1 ? one : many}`;
  const CHANGES = ["same", "added", "changed", "removed"];
  const STATES = ["outside", "held", "absent", "gap", "unknown"];
  const LISTED = 50; // granules of a shard that are listed at first
  const MATCHES = 30;

  function make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else element.setAttribute(name, value);
    }
    element.append(...children);
    return element;
  }

  // ---- Packs: see zagg_catalog/report/pack.py.

  async function unpack(name) {
    const source = document.getElementById(`pack-${name}`);
    if (!source) return null;
    const text = atob(source.textContent);
    const bytes = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    const content = new Uint8Array(await new Response(stream).arrayBuffer());
    const length = new DataView(content.buffer).getUint32(0, true);
    const header = JSON.parse(new TextDecoder().decode(content.subarray(4, 4 + length)));
    const column = (title) => {
      const [, start, size] = header[title];
      return content.subarray(4 + length + start, 4 + length + start + size);
    };
    return {
      lines: (title) => new TextDecoder().decode(column(title)).split("\n"),
      numbers: (title) => numbers(column(title), header[title][0] === "s"),
      keys: (title) => keys(column(title)),
    };
  }

  function numbers(bytes, signed) {
    let count = 0;
    for (let i = 0; i < bytes.length; i++) if (bytes[i] < 128) count++;
    const found = new Int32Array(count);
    for (let i = 0, k = 0; k < count; k++) {
      let value = 0, shift = 0, byte;
      do {
        byte = bytes[i++];
        value |= (byte & 127) << shift;
        shift += 7;
      } while (byte > 127);
      found[k] = signed ? (value >>> 1) ^ -(value & 1) : value;
    }
    return found;
  }

  // Integers of 64 bits as BigInt.
  function keys(bytes) {
    const found = [];
    for (let i = 0; i < bytes.length; ) {
      let value = 0n, shift = 0n, byte;
      do {
        byte = bytes[i++];
        value |= BigInt(byte & 127) << shift;
        shift += 7n;
      } while (byte > 127);
      found.push(value);
    }
    return found;
  }

  // Shapes: the rings of shape i are rings[i] to rings[i + 1], the vertices of ring k are
  // points[k] to points[k + 1].
  function shapes(pack, name) {
    const rings = offsets(pack.numbers(`${name}.parts`));
    const points = offsets(pack.numbers(`${name}.sizes`));
    const x = coordinates(pack.numbers(`${name}.x`), points);
    const y = coordinates(pack.numbers(`${name}.y`), points);
    return { rings, points, x, y };
  }

  function offsets(sizes) {
    const found = new Int32Array(sizes.length + 1);
    for (let i = 0; i < sizes.length; i++) found[i + 1] = found[i] + sizes[i];
    return found;
  }

  function coordinates(steps, points) {
    const found = new Int32Array(steps.length);
    let start = 0;
    for (let k = 0; k + 1 < points.length; k++) {
      let value = start, step = 0;
      for (let i = points[k]; i < points[k + 1]; i++) {
        if (i === points[k]) value = start += steps[i];
        else value += step = i === points[k] + 1 ? steps[i] : step + steps[i];
        found[i] = value;
      }
    }
    return found;
  }

  function boxes(drawn) {
    const count = drawn.rings.length - 1;
    const found = new Float32Array(4 * count);
    for (let i = 0; i < count; i++) {
      let west = Infinity, north = Infinity, east = -Infinity, south = -Infinity;
      const last = drawn.points[drawn.rings[i + 1]];
      for (let k = drawn.points[drawn.rings[i]]; k < last; k++) {
        const x = drawn.x[k], y = drawn.y[k];
        if (x < west) west = x;
        if (x > east) east = x;
        if (y < north) north = y;
        if (y > south) south = y;
      }
      found.set([west, north, east, south], 4 * i);
    }
    return found;
  }

  // ---- What the page knows.

  let base = null, granules = null, footprints = null, grid = null;
  const grids = new Map();

  function readGranules(pack) {
    const names = pack.lines("id");
    const address = (slot) => {
      const patterns = pack.lines(`${slot}.patterns`), which = pack.numbers(`${slot}.which`);
      return (row) => expand(patterns[which[row]], names[row]);
    };
    const count = facts.granules;
    return {
      count,
      names: count ? names : [],
      https: address("https"),
      s3: address("s3"),
      changes: pack.numbers("changes"),
      pack,
    };
  }

  function expand(pattern, name) {
    const file = /^[^/]*?\.(?:h5|nc|hdf5?)/.exec(name);
    const day = /^ATL\d\d[^_]*_(\d{4})(\d\d)(\d\d)\d{6}_/.exec(name);
    return pattern
      .replaceAll("\u0001", () => (file ? file[0] : ""))
      .replaceAll("\u0002", () => (day ? day.slice(1).join("/") : ""));
  }

  async function readGrid(entry) {
    const pack = await unpack(`grid-${entry.place}`);
    let sum = 0n;
    const names = pack.keys("keys").map((step) => String((sum += step)));
    const own = names.length;
    for (const key of pack.keys("lost")) names.push(String(key));
    const counts = new Int32Array(names.length);
    counts.set(pack.numbers("counts"));
    const starts = offsets(counts);
    const gaps = pack.numbers("pairs");
    for (let i = 0; i < own; i++) {
      for (let k = starts[i] + 1; k < starts[i + 1]; k++) gaps[k] += gaps[k - 1];
    }
    const drawn = shapes(pack, "shard");
    const found = {
      ...entry, names, own, counts, starts, rows: gaps, drawn, boxes: boxes(drawn),
      changes: pack.numbers("changes"), beyond: pack.numbers("beyond"), classes: new Uint8Array(names.length),
    };
    for (let i = 0; i < names.length; i++) {
      let one = 0;
      while (one + 1 < entry.colours.length && counts[i] >= entry.lows[one + 1]) one++;
      found.classes[i] = one;
    }
    return found;
  }

  const granulesOf = (shard) => grid.rows.subarray(grid.starts[shard], grid.starts[shard + 1]);

  function shardsOf(granule) {
    const found = [];
    if (!grid) return found;
    for (let i = 0; i < grid.own; i++) {
      if (granulesOf(i).includes(granule)) found.push(i);
    }
    return found;
  }

  // ---- The map.

  const frame = $("#map-frame");
  const view = { zoom: 1, x: 0, y: 0, scale: 1, width: 0, height: 0, ratio: 1 };
  const state = { mode: "count", shard: -1, kept: false, granule: -1, touched: [] };
  const colour = (name) => getComputedStyle(root).getPropertyValue(`--${name}`).trim();

  function fit() {
    view.zoom = 1;
    view.x = facts.width / 2;
    view.y = facts.height / 2;
  }

  function resize() {
    const width = frame.clientWidth;
    const height = Math.round(Math.min((width * facts.height) / facts.width, Math.max(320, window.innerHeight * 0.85)));
    frame.style.height = `${height}px`;
    view.ratio = Math.min(window.devicePixelRatio || 1, 2);
    view.width = width;
    view.height = height;
    for (const canvas of frame.querySelectorAll("canvas")) {
      canvas.width = Math.round(width * view.ratio);
      canvas.height = Math.round(height * view.ratio);
    }
  }

  // Pixels of a map unit.
  const scale = () => view.zoom * Math.min(view.width / facts.width, view.height / facts.height);

  function prepare(canvas) {
    const context = canvas.getContext("2d");
    const factor = scale() * view.ratio;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, canvas.width, canvas.height);
    context.setTransform(
      factor, 0, 0, factor,
      canvas.width / 2 - view.x * factor, canvas.height / 2 - view.y * factor,
    );
    return context;
  }

  function trace(context, drawn, shape, closed = true) {
    for (let k = drawn.rings[shape]; k < drawn.rings[shape + 1]; k++) {
      let i = drawn.points[k];
      const last = drawn.points[k + 1];
      if (i === last) continue;
      context.moveTo(drawn.x[i], drawn.y[i]);
      while (++i < last) context.lineTo(drawn.x[i], drawn.y[i]);
      if (closed) context.closePath();
    }
  }

  function inView(box, i) {
    const factor = scale(), across = view.width / 2 / factor, down = view.height / 2 / factor;
    return box[4 * i] <= view.x + across && box[4 * i + 2] >= view.x - across &&
      box[4 * i + 1] <= view.y + down && box[4 * i + 3] >= view.y - down;
  }

  function drawBase() {
    if (!base || !view.width) return;
    const context = prepare($("#map-base"));
    const pixel = 1 / scale();
    context.fillStyle = colour("land");
    context.beginPath();
    trace(context, base.land, 0);
    context.fill("evenodd");
    if (grid) drawShards(context, pixel);
    context.lineWidth = pixel;
    context.strokeStyle = colour("coast");
    context.beginPath();
    trace(context, base.land, 0);
    context.stroke();
    context.strokeStyle = colour("graticule");
    context.lineWidth = 0.8 * pixel;
    context.beginPath();
    trace(context, base.graticule, 0, false);
    context.stroke();
    drawLabels(context);
    drawScaleBar(context);
    if (!grid && footprints) {
      context.setTransform(...transform());
      context.fillStyle = colour("held");
      context.globalAlpha = 0.18;
      for (let i = 0; i < granules.count; i++) paint(context, footprints.drawn, [i], () => context.fill("evenodd"));
      context.globalAlpha = 1;
    }
  }

  function transform() {
    const factor = scale() * view.ratio;
    return [
      factor, 0, 0, factor,
      (view.width * view.ratio) / 2 - view.x * factor, (view.height * view.ratio) / 2 - view.y * factor,
    ];
  }

  // Shapes that are painted at once: one call for each takes long, and so does a path of thousands.
  const AT_ONCE = 256;

  function drawShards(context, pixel) {
    const byChange = state.mode === "change";
    const names = byChange ? CHANGES.map(colour) : grid.colours;
    const ofShard = byChange ? grid.changes : grid.classes;
    const last = byChange ? grid.names.length : grid.own;
    const lists = names.map(() => []);
    for (let i = 0; i < last; i++) if (inView(grid.boxes, i)) lists[ofShard[i]].push(i);
    const sides = grid.typical * scale() > 9 ? colour("page") : null;
    lists.forEach((list, k) => paint(context, grid.drawn, list, () => {
      context.fillStyle = names[k];
      context.fill("evenodd");
      // In its own colour: neighbours leave a seam otherwise.
      context.strokeStyle = sides || names[k];
      context.lineWidth = 0.7 * pixel;
      context.stroke();
    }));
    drawBeyond(context, pixel);
  }

  // Shards that may lack granules, because they reach beyond the area of the catalog.
  function drawBeyond(context, pixel) {
    const list = [];
    for (let i = 0; i < grid.own; i++) if (grid.beyond[i] && inView(grid.boxes, i)) list.push(i);
    paint(context, grid.drawn, list, () => {
      context.strokeStyle = colour("absent");
      context.lineWidth = Math.min(2 * pixel, grid.typical / 4);
      context.stroke();
    });
  }

  function paint(context, drawn, list, finish) {
    for (let first = 0; first < list.length; first += AT_ONCE) {
      context.beginPath();
      for (const i of list.slice(first, first + AT_ONCE)) trace(context, drawn, i);
      finish();
    }
  }

  function drawLabels(context) {
    context.setTransform(view.ratio, 0, 0, view.ratio, 0, 0);
    context.font = "11px system-ui, sans-serif";
    context.textAlign = "center";
    context.textBaseline = "middle";
    if (view.zoom > 1 || view.width < 420) return;
    const factor = scale();
    for (const [x, y, text, side] of facts.labels) {
      const half = context.measureText(text).width / 2 + 4;
      const left = view.width / 2 + (x - view.x) * factor, top = view.height / 2 + (y - view.y) * factor;
      const at = [
        Math.min(Math.max(left + (side === "left" ? half : side === "right" ? -half : 0), half), view.width - half),
        Math.min(Math.max(top + (side === "top" ? 9 : side === "bottom" ? -9 : 0), 9), view.height - 9),
      ];
      const atScaleBar = at[0] < view.width / 3 && at[1] > view.height - 40;
      if (!atScaleBar) halo(context, text, ...at);
    }
  }

  function halo(context, text, x, y) {
    context.lineWidth = 3;
    context.lineJoin = "round";
    context.strokeStyle = colour("page");
    context.strokeText(text, x, y);
    context.fillStyle = colour("text");
    context.fillText(text, x, y);
  }

  function drawScaleBar(context) {
    if (!facts.ground) return;
    context.setTransform(view.ratio, 0, 0, view.ratio, 0, 0);
    const metres = (view.width * 0.25 * facts.ground) / scale();
    const power = 10 ** Math.floor(Math.log10(metres));
    const length = [5, 2, 1].find((one) => one * power <= metres) * power;
    const pixels = (length / facts.ground) * scale();
    const x = 14, y = view.height - 14;
    for (const [name, width] of [["page", 5], ["text", 2]]) {
      context.strokeStyle = colour(name);
      context.lineWidth = width;
      context.lineCap = "butt";
      context.beginPath();
      context.moveTo(x, y - 5);
      context.lineTo(x, y);
      context.lineTo(x + pixels, y);
      context.lineTo(x + pixels, y - 5);
      context.stroke();
    }
    context.font = "12px system-ui, sans-serif";
    context.textAlign = "left";
    context.textBaseline = "bottom";
    halo(context, length >= 1000 ? `${format(length / 1000)} km` : `${format(length)} m`, x + 5, y - 5);
  }

  function drawOver() {
    if (!base || !view.width) return;
    const context = prepare($("#map-over"));
    const pixel = 1 / scale();
    const mark = colour("mark");
    const outlined = (drawn, list, width, fill) => paint(context, drawn, list, () => {
      if (fill) {
        context.globalAlpha = fill;
        context.fillStyle = mark;
        context.fill("nonzero");
        context.globalAlpha = 1;
      }
      context.strokeStyle = mark;
      context.lineWidth = width * pixel;
      context.stroke();
    });
    if (state.granule >= 0) {
      if (grid) outlined(grid.drawn, state.touched, 1);
      if (footprints) outlined(footprints.drawn, [state.granule], 2, 0.25);
    } else if (state.shard >= 0) {
      if (footprints && state.kept) outlined(footprints.drawn, granulesOf(state.shard), 0.8, 0.05);
      context.strokeStyle = colour("page");
      context.lineWidth = 5 * pixel;
      context.beginPath();
      trace(context, grid.drawn, state.shard);
      context.stroke();
      outlined(grid.drawn, [state.shard], 2.5);
    }
  }

  // ---- Which shape is where: a grid of buckets over the map.

  const BUCKETS = 96;

  function indexed(boxesOfShapes, count) {
    const buckets = Array.from({ length: BUCKETS * BUCKETS }, () => []);
    const place = (value, size) => Math.min(Math.max(Math.floor((value / size) * BUCKETS), 0), BUCKETS - 1);
    for (let i = 0; i < count; i++) {
      const [west, north, east, south] = boxesOfShapes.subarray(4 * i, 4 * i + 4);
      if (!(west <= east)) continue;
      const right = place(east, facts.width), bottom = place(south, facts.height);
      for (let y = place(north, facts.height); y <= bottom; y++) {
        for (let x = place(west, facts.width); x <= right; x++) buckets[y * BUCKETS + x].push(i);
      }
    }
    return (x, y) => buckets[place(y, facts.height) * BUCKETS + place(x, facts.width)];
  }

  function contains(drawn, shape, x, y) {
    let inside = false;
    for (let k = drawn.rings[shape]; k < drawn.rings[shape + 1]; k++) {
      const first = drawn.points[k], last = drawn.points[k + 1];
      for (let i = first, j = last - 1; i < last; j = i++) {
        const yi = drawn.y[i], yj = drawn.y[j];
        if (yi > y !== yj > y && x < ((drawn.x[j] - drawn.x[i]) * (y - yi)) / (yj - yi) + drawn.x[i]) inside = !inside;
      }
    }
    return inside;
  }

  function shapeAt(event) {
    const box = frame.getBoundingClientRect(), factor = scale();
    const x = view.x + (event.clientX - box.left - view.width / 2) / factor;
    const y = view.y + (event.clientY - box.top - view.height / 2) / factor;
    const drawn = grid ? grid.drawn : footprints ? footprints.drawn : null;
    if (!drawn) return -1;
    const one = grid || footprints;
    one.near ||= indexed(one.boxes, grid ? grid.own : granules.count);
    const found = one.near(x, y).find((i) => contains(drawn, i, x, y));
    return found === undefined ? -1 : found;
  }

  // ---- Selection and details.

  const details = $("#details");

  function show(shard, kept) {
    Object.assign(state, { shard, kept, granule: -1, touched: [] });
    drawOver();
    if (shard < 0) return empty();
    const rows = granulesOf(shard);
    const change = grid.changes[shard];
    const tag = change && grid.diff ? [make("span", { class: "tag" }, CHANGES[change])] : [];
    fill(
      make("h3", {}, "Shard ", make("span", { class: "name", id: "shard-key" }, grid.names[shard]), ...tag),
      make("p", { id: "shard-count", "data-count": rows.length }, plural(rows.length, "granule", "granules"), copyButton(grid.names[shard], "the shard key")),
      ...(grid.beyond[shard] ? [make("p", { class: "bad" }, "It reaches beyond the catalog's area, and may lack granules there.")] : []),
      list(rows),
    );
    say(`Shard ${grid.names[shard]}, ${plural(rows.length, "granule", "granules")}${tag.length ? `, ${CHANGES[change]}` : ""}.`);
    details.dataset.shard = grid.names[shard];
  }

  function showGranule(granule) {
    const touched = shardsOf(granule);
    Object.assign(state, { granule, touched, shard: -1, kept: true });
    drawOver();
    const items = touched.slice(0, LISTED).map((i) =>
      make("li", {}, make("button", { type: "button", class: "name-button name", onclick: () => { show(i, true); } }, grid.names[i]), ` ${plural(grid.counts[i], "granule", "granules")}`));
    const shards = grid ? `It touches ${plural(touched.length, "shard", "shards")}${touched.length > LISTED ? `, the first ${LISTED} of them:` : touched.length ? ":" : " of this grid."}` : "";
    fill(make("h3", {}, "Granule"), make("ul", { id: "granule" }, granuleItem(granule, false)), make("p", {}, shards), make("ul", {}, ...items));
    say(`Granule ${granules.names[granule]}. ${shards}`);
    delete details.dataset.shard;
  }

  function empty() {
    fill(make("p", { class: "soft" }, grid
      ? "Point at a shard, tap it, or move to it with the arrow keys: its key and its granules stand here."
      : "Point at a footprint or tap it, or search a granule."));
    details.dataset.empty = "";
    delete details.dataset.shard;
  }

  function fill(...children) {
    delete details.dataset.empty;
    details.replaceChildren(...children);
    details.scrollTop = 0;
  }

  function say(text) {
    $("#announce").textContent = text;
  }

  function list(rows) {
    const items = make("ul", { id: "granules" });
    let shown = 0;
    const more = make("button", { type: "button", class: "no-print", onclick: () => add(rows.length) });
    const add = (last) => {
      for (; shown < Math.min(last, rows.length); shown++) items.append(granuleItem(rows[shown], true));
      more.hidden = shown >= rows.length;
      more.textContent = `Show all ${format(rows.length)}`;
    };
    add(LISTED);
    const both = document.createDocumentFragment();
    both.append(items, more);
    return both;
  }

  function granuleItem(row, choose) {
    const name = granules.names[row], change = granules.changes[row];
    const title = choose
      ? make("button", { type: "button", class: "name-button name", onclick: () => showGranule(row) }, name)
      : make("span", { class: "name" }, name);
    const item = make("li", {}, title);
    if (change) item.append(make("span", { class: "tag" }, change === 1 ? "new" : "revised"));
    const places = make("div", {}, ...address("HTTPS", granules.https(row)), ...address("S3", granules.s3(row)));
    item.append(places);
    return item;
  }

  // A link only to https and http; any other address is text.
  function address(label, href) {
    if (!href) return [];
    const name = `${label} address`;
    if (/^https?:\/\/[^\s]+$/i.test(href)) {
      return [make("a", { href, rel: "noopener noreferrer", target: "_blank", title: href }, label), copyButton(href, `the ${name}`), " "];
    }
    return [make("span", { class: "soft", title: href }, /^s3:\/\//i.test(href) ? `${label} ` : `${href} `), copyButton(href, `the ${name}`), " "];
  }

  function copyButton(value, what) {
    return make("button", { type: "button", class: "copy", "data-copy": value, "aria-label": `Copy ${what}` }, "Copy");
  }

  async function copy(button) {
    const value = button.dataset.copy;
    try {
      await navigator.clipboard.writeText(value);
    } catch {
      // Pages from disk may have no clipboard in some browsers.
      const area = make("textarea", { readonly: "", "aria-hidden": "true" });
      area.value = value;
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
      button.focus();
    }
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  }

  // ---- Pointer, keys and zoom.

  function zoomTo(zoom, x = view.x, y = view.y) {
    view.zoom = Math.min(Math.max(zoom, 1), 64);
    if (view.zoom === 1) fit();
    else Object.assign(view, { x, y });
    frame.toggleAttribute("data-zoomed", view.zoom > 1);
    redraw();
  }

  function redraw() {
    drawBase();
    drawOver();
  }

  function listen() {
    let start = null, moved = false, waiting = 0;
    frame.addEventListener("pointerdown", (event) => {
      start = { x: event.clientX, y: event.clientY, cx: view.x, cy: view.y };
      moved = false;
    });
    frame.addEventListener("pointermove", (event) => {
      if (start && view.zoom > 1 && event.buttons) {
        if (Math.hypot(event.clientX - start.x, event.clientY - start.y) > 4) moved = true;
        if (!moved) return;
        view.x = start.cx - (event.clientX - start.x) / scale();
        view.y = start.cy - (event.clientY - start.y) / scale();
        waiting ||= requestAnimationFrame(() => { waiting = 0; redraw(); });
      } else if (event.pointerType === "mouse" && !state.kept) {
        const found = shapeAt(event);
        if (grid && found !== state.shard) show(found, false);
      }
    });
    frame.addEventListener("pointerleave", () => { if (!state.kept) show(-1, false); });
    window.addEventListener("pointerup", () => { start = null; });
    frame.addEventListener("click", (event) => {
      if (moved) return;
      const found = shapeAt(event);
      if (grid) show(found, found >= 0);
      else if (found >= 0) showGranule(found);
      else { state.granule = -1; state.kept = false; drawOver(); empty(); }
    });
    frame.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && !event.metaKey) return; // the page scrolls
      event.preventDefault();
      zoomTo(view.zoom * (event.deltaY < 0 ? 1.3 : 1 / 1.3));
    }, { passive: false });
    frame.addEventListener("keydown", onKey);
    frame.addEventListener("focus", () => { if (grid && state.shard < 0 && state.granule < 0) show(nearestTo(view.x, view.y), false); });
    $("#zoom").hidden = false;
    $("#zoom").addEventListener("click", (event) => {
      const step = { in: 1.6, out: 1 / 1.6 }[event.target.dataset.zoom];
      if (event.target.dataset.zoom) zoomTo(step ? view.zoom * step : 1, ...centre());
    });
  }

  const middle = (i) => [(grid.boxes[4 * i] + grid.boxes[4 * i + 2]) / 2, (grid.boxes[4 * i + 1] + grid.boxes[4 * i + 3]) / 2];
  const centre = () => (grid && state.shard >= 0 ? middle(state.shard) : [view.x, view.y]);

  function nearestTo(x, y, wanted = () => true) {
    let best = -1, least = Infinity;
    for (let i = 0; i < grid.own; i++) {
      const [a, b] = middle(i);
      const distance = wanted(a - x, b - y);
      const far = distance === true ? (a - x) ** 2 + (b - y) ** 2 : distance;
      if (far !== false && far < least) { least = far; best = i; }
    }
    return best;
  }

  function onKey(event) {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (step && grid) {
      event.preventDefault();
      if (state.shard < 0) return show(nearestTo(view.x, view.y), false);
      const [x, y] = middle(state.shard);
      // The nearest shard ahead; sideways counts more.
      const next = nearestTo(x, y, (dx, dy) => {
        const ahead = dx * step[0] + dy * step[1], aside = Math.abs(dx * step[1]) + Math.abs(dy * step[0]);
        return ahead > aside * 0.8 && ahead > 0 ? ahead * ahead + 4 * aside * aside : false;
      });
      if (next < 0) return;
      show(next, false);
      if (view.zoom > 1) zoomTo(view.zoom, ...middle(next));
    } else if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      if (state.shard >= 0) show(state.shard, true);
    } else if (event.key === "Escape") {
      show(-1, false);
    } else if (event.key === "+" || event.key === "=") {
      zoomTo(view.zoom * 1.6, ...centre());
    } else if (event.key === "-") {
      zoomTo(view.zoom / 1.6, ...centre());
    }
  }

  // ---- Search.

  function search(text) {
    const wanted = text.trim().toLowerCase();
    const found = [];
    if (!wanted) return found;
    const add = (kind, name, choose) => found.push({ kind, name, choose });
    if (grid) {
      for (let i = 0; i < grid.own && found.length < MATCHES; i++) {
        if (grid.names[i] === wanted) add("shard", grid.names[i], () => choose(i));
      }
      for (let i = 0; i < grid.own && found.length < MATCHES / 2; i++) {
        if (grid.names[i] !== wanted && grid.names[i].startsWith(wanted)) add("shard", grid.names[i], () => choose(i));
      }
    }
    for (let i = 0; i < granules.count && found.length < MATCHES; i++) {
      if (granules.names[i].toLowerCase().includes(wanted)) add("granule", granules.names[i], () => showGranule(i));
    }
    return found;
  }

  function choose(shard) {
    show(shard, true);
    if (view.zoom > 1) zoomTo(view.zoom, ...middle(shard));
  }

  function listenToSearch() {
    const input = $("#search"), matches = $("#matches");
    let found = [], chosen = -1;
    const close = () => {
      matches.hidden = true;
      input.setAttribute("aria-expanded", "false");
      input.removeAttribute("aria-activedescendant");
      chosen = -1;
    };
    const mark = () => {
      [...matches.children].forEach((one, i) => one.setAttribute("aria-selected", String(i === chosen)));
      if (chosen < 0) return;
      input.setAttribute("aria-activedescendant", `match-${chosen}`);
      matches.children[chosen].scrollIntoView({ block: "nearest" });
    };
    const take = (i) => {
      input.value = found[i].name;
      found[i].choose();
      close();
    };
    input.addEventListener("input", () => {
      found = search(input.value);
      matches.replaceChildren(...found.map((one, i) =>
        make("li", { role: "option", id: `match-${i}`, "aria-selected": "false", onpointerdown: (event) => { event.preventDefault(); take(i); } },
          make("span", {}, `${one.kind} `), make("span", { class: "name" }, one.name))));
      if (!input.value.trim()) return close();
      chosen = -1;
      matches.hidden = !found.length;
      input.setAttribute("aria-expanded", String(found.length > 0));
      say(found.length ? `${found.length === MATCHES ? "More than " : ""}${plural(found.length, "match", "matches")}` : "Nothing found");
      if (!found.length) fill(make("p", { class: "soft", id: "nothing-found" }, "No shard and no granule of this page has such a name."));
    });
    input.addEventListener("keydown", (event) => {
      if (event.key === "Escape") return close();
      if (!found.length || matches.hidden) return;
      if (event.key === "ArrowDown" || event.key === "ArrowUp") {
        event.preventDefault();
        chosen = (chosen + (event.key === "ArrowDown" ? 1 : -1) + found.length) % found.length;
        mark();
      } else if (event.key === "Enter") {
        event.preventDefault();
        take(Math.max(chosen, 0));
      }
    });
    input.addEventListener("blur", close);
  }

  // ---- Legend, matrix, theme.

  function legend() {
    const item = (style, text) => {
      const swatch = make("span", { class: "swatch" });
      swatch.style.background = style;
      return make("li", {}, swatch, text);
    };
    const items = [];
    if (grid && state.mode === "count") {
      items.push(make("li", {}, "Granules per shard:"));
      grid.labels.forEach((label, i) => items.push(item(grid.colours[i], label)));
    } else if (grid) {
      const counts = [0, 0, 0, 0];
      for (const one of grid.changes) counts[one]++;
      CHANGES.forEach((name, i) => items.push(item(`var(--${name})`, `${name} ${format(counts[i])}`)));
    } else if (footprints) {
      items.push(item("var(--held)", "footprints of the granules"));
    }
    if (grid?.beyond.includes(1)) items.push(item("var(--absent)", "outlined: reaches beyond the catalog's area, and may lack granules"));
    $("#legend").replaceChildren(...items);
  }

  let states = null;
  // A column of pixels shows the worst of its tracks, so that none is lost on a narrow screen.
  const RANK = [0, 1, 4, 3, 2];

  function drawMatrix() {
    const canvas = $("#matrix");
    if (!canvas || !states) return;
    const ratio = Math.min(window.devicePixelRatio || 1, 2);
    const width = (canvas.width = Math.round(canvas.clientWidth * ratio));
    const height = (canvas.height = Math.round(canvas.clientHeight * ratio));
    if (!width) return;
    const context = canvas.getContext("2d");
    const colours = STATES.map(colour);
    const tracks = states.length / 14, columns = Math.min(width, tracks);
    for (let column = 0; column < columns; column++) {
      const first = Math.floor((column * tracks) / columns), last = Math.floor(((column + 1) * tracks) / columns);
      const left = Math.floor((column * width) / columns), right = Math.floor(((column + 1) * width) / columns);
      for (let region = 0; region < 14; region++) {
        let worst = 0;
        for (let track = first; track < last; track++) {
          const one = states[14 * track + region];
          if (RANK[one] > RANK[worst]) worst = one;
        }
        const top = Math.floor((region * height) / 14);
        context.fillStyle = colours[worst];
        context.fillRect(left, top, right - left, Math.floor(((region + 1) * height) / 14) - top - 1);
      }
    }
  }

  function listenToMatrix() {
    const canvas = $("#matrix");
    if (!canvas || !states) return;
    const text = ["the track does not cross the area", "a granule", "no granule", "no granule, known gap", "no granule, not known whether one is expected"];
    canvas.addEventListener("pointermove", (event) => {
      const box = canvas.getBoundingClientRect();
      const track = Math.min(Math.floor(((event.clientX - box.left) / box.width) * (states.length / 14)), states.length / 14 - 1);
      const region = Math.min(Math.floor(((event.clientY - box.top) / box.height) * 14), 13);
      if (track < 0 || region < 0) return;
      $("#matrix-cell").textContent = `Track ${track + 1}, region ${region + 1}: ${text[states[14 * track + region]]}.`;
    });
  }

  const dark = matchMedia("(prefers-color-scheme: dark)");
  const hash = () => new URLSearchParams(location.hash.includes("=") ? location.hash.slice(1) : "");
  let wanted = hash().get("theme");

  function applyTheme(printing = false) {
    const theme = printing ? "light" : wanted === "dark" || wanted === "light" ? wanted : dark.matches ? "dark" : "light";
    root.dataset.theme = theme;
    $("#theme").setAttribute("aria-pressed", String(theme === "dark"));
    redraw();
    drawMatrix();
  }

  // Before the data is there, so that no page of the other colour is seen.
  $("#theme").hidden = false;
  applyTheme();

  async function choose_grid(place) {
    const entry = facts.grids.find((one) => one.place === place);
    if (!entry) return;
    if (!grids.has(place)) grids.set(place, await readGrid(entry));
    grid = grids.get(place);
    const widths = [];
    for (let i = 0; i < grid.own; i += Math.ceil(grid.own / 500)) widths.push(grid.boxes[4 * i + 2] - grid.boxes[4 * i]);
    grid.typical = widths.sort((a, b) => a - b)[widths.length >> 1] || 0;
    if (!grid.diff) setMode("count");
    $("#colour-by")?.toggleAttribute("hidden", !grid.diff);
    for (const figure of document.querySelectorAll("[data-grid]")) figure.hidden = Number(figure.dataset.grid) !== place;
    legend();
    show(-1, false);
    redraw();
  }

  function setMode(mode) {
    state.mode = mode;
    for (const one of document.querySelectorAll("[data-mode]")) one.setAttribute("aria-pressed", String(one.dataset.mode === mode));
    legend();
  }

  async function start() {
    document.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (button?.dataset.copy !== undefined) copy(button);
      if (button?.dataset.mode) { setMode(button.dataset.mode); redraw(); }
      if (button?.id === "theme") { wanted = root.dataset.theme === "dark" ? "light" : "dark"; applyTheme(); }
    });
    dark.addEventListener("change", () => applyTheme());
    window.addEventListener("beforeprint", () => applyTheme(true));
    window.addEventListener("afterprint", () => applyTheme());
    if (!("DecompressionStream" in window)) {
      $("#too-old").hidden = false;
      return;
    }
    const known = await unpack("granules");
    granules = readGranules(known);
    states = document.getElementById("matrix") ? known.numbers("states") : null;
    drawMatrix();
    listenToMatrix();
    if (frame) {
      const below = await unpack("base");
      base = { land: shapes(below, "land"), graticule: shapes(below, "graticule") };
      fit();
      resize();
      $("#controls").hidden = false;
      listen();
      listenToSearch();
      $("#grid")?.addEventListener("change", (event) => choose_grid(Number(event.target.value)));
      if (facts.grids.length) await choose_grid(facts.grids[0].place);
      const outlines = await unpack("footprints");
      if (outlines) {
        const drawn = shapes(outlines, "footprint");
        footprints = { drawn, boxes: boxes(drawn) };
      }
      legend();
      if (!grid) { empty(); redraw(); }
      fromHash();
      window.addEventListener("hashchange", fromHash);
    }
    let waiting = 0;
    window.addEventListener("resize", () => {
      waiting ||= requestAnimationFrame(() => {
        waiting = 0;
        if (frame) { resize(); redraw(); }
        drawMatrix();
      });
    });
    root.dataset.ready = "true";
    performance.mark("report-ready");
  }

  // #shard=KEY or #granule=NAME, for links to a place of the map.
  function fromHash() {
    const asked = hash();
    if (asked.has("theme") && asked.get("theme") !== wanted) {
      wanted = asked.get("theme");
      applyTheme();
    }
    const shard = grid && asked.has("shard") ? grid.names.indexOf(asked.get("shard")) : -1;
    const granule = asked.has("granule") ? granules.names.indexOf(asked.get("granule")) : -1;
    if (shard >= 0) choose(shard);
    else if (granule >= 0) showGranule(granule);
  }

  start().catch((error) => {
    // What is missing must not look complete.
    const note = $("#too-old");
    note.textContent = `The map cannot be drawn: ${error.message}. All else on this page is there.`;
    note.hidden = false;
    throw error;
  });
})();
