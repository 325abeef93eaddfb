"use strict";
// A table, or a list, of rows of one height. Long ones hold the rows in sight alone: a browser takes
// seconds to lay out ten thousand.
(() => {
  const MORE = 3; // rows beyond the ones in sight

  // scroller: the element that scrolls; body: holds the rows; height: of a row in pixels;
  // row(i): makes one; spacer(): makes an element that keeps the room of rows that are not there.
  EA.windowed = ({ scroller, body, height, row, spacer, whole }) => {
    let count = 0;
    let all = false;
    let from = 0;
    let to = 0;
    const drawn = new Map();
    const above = spacer();
    const below = spacer();
    const tall = (element, rows) => {
      element.style.height = `${rows * height}px`;
      element.hidden = rows <= 0;
    };

    const show = () => {
      const seen = [scroller.scrollTop / height, (scroller.scrollTop + scroller.clientHeight) / height];
      // After a jump the rows in sight come first, those beyond in the next frame.
      const jumped = drawn.size > 0 && (seen[0] > to || seen[1] < from);
      const more = jumped ? 0 : MORE;
      if (jumped) soon();
      const first = all ? 0 : Math.max(0, Math.floor(seen[0]) - more);
      const last = all ? count : Math.min(count, Math.ceil(seen[1]) + more);
      if (first === from && last === to && drawn.size) return;
      for (const [i, element] of drawn) {
        if (i < first || i >= last) {
          element.remove();
          drawn.delete(i);
        }
      }
      let next = below;
      for (let i = last - 1; i >= first; i--) {
        let element = drawn.get(i);
        if (!element) {
          element = row(i);
          drawn.set(i, element);
          next.before(element);
        }
        next = element;
      }
      from = first;
      to = last;
      tall(above, first);
      tall(below, count - last);
    };

    let asked = false;
    const soon = () => {
      if (asked) return;
      asked = true;
      requestAnimationFrame(() => {
        asked = false;
        show();
      });
    };
    scroller.addEventListener("scroll", soon, { passive: true });
    const resized = new ResizeObserver(soon);
    resized.observe(scroller);

    const table = {
      // Draws anew; `n` rows.
      reset(n) {
        count = n;
        all = whole(n);
        drawn.clear();
        from = to = 0;
        body.replaceChildren(above, below);
        show();
      },
      row: (i) => drawn.get(i),
      // Brings row i into sight and returns its element.
      reveal(i, header = 0) {
        const top = i * height;
        const room = scroller.clientHeight - header;
        if (top < scroller.scrollTop) scroller.scrollTop = top;
        else if (top + height > scroller.scrollTop + room) scroller.scrollTop = top + height - room;
        show();
        return drawn.get(i);
      },
      // For the printer: all rows at once, up to `most`.
      whole(on, most) {
        all = on ? count <= most : whole(count);
        from = to = -1;
        show();
      },
      close: () => resized.disconnect(),
    };
    return table;
  };
})();
