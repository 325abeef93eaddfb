"use strict";
// A table, or a list, of rows of one height. Long ones hold the rows in sight alone: a browser takes
// seconds to lay out ten thousand. What leaves the sight is drawn anew as what comes into it: elements
// made and thrown away would cost more, and their collection would hold up a frame now and then.
(() => {
  const MORE = 2; // rows beyond the ones in sight

  // scroller: the element that scrolls; body: holds the rows; height: of a row in pixels;
  // row(): makes {element, draw(i)}, which can be drawn as one row after another;
  // spacer(): makes an element that keeps the room of rows that are not there; whole(n): are all n there;
  // look(): reads what rows depend on beside their number, and says if it has changed.
  EA.windowed = ({ scroller, body, height, row, spacer, whole, look = () => false }) => {
    let count = 0;
    let all = false;
    let from = 0;
    let shown = []; // the rows from `from` on
    const above = spacer();
    const below = spacer();
    body.replaceChildren(above, below);
    const tall = (element, rows) => {
      element.style.height = `${rows * height}px`;
      element.hidden = rows <= 0;
    };

    // Layout is read first and written then: the other way the browser would do it twice.
    const show = () => {
      const room = scroller.clientHeight;
      const top = Math.min(scroller.scrollTop, Math.max(0, count * height - room)); // fewer rows than before
      const first = all ? 0 : Math.max(0, Math.floor(top / height) - MORE);
      const last = all ? count : Math.min(count, Math.ceil((top + room) / height) + MORE);
      const changed = look();
      if (!changed && first === from && last === from + shown.length) return;
      const kept = (place) => place >= first && place < last;
      const spare = [];
      shown.forEach((one, k) => {
        if (kept(from + k)) return;
        // The focus must not find itself on another row.
        if (one.element.contains(document.activeElement)) one.element.remove();
        else spare.push(one);
      });
      const now = [];
      let next = below;
      for (let i = last - 1; i >= first; i--) {
        let one = shown[i - from];
        if (!one) {
          one = spare.pop() || row();
          one.draw(i);
          if (one.element.nextSibling !== next) next.before(one.element);
        } else if (changed) one.draw(i);
        now.push(one);
        next = one.element;
      }
      for (const one of spare) one.element.remove();
      shown = now.reverse();
      from = first;
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

    return {
      // Other rows, `n` of them.
      reset(n) {
        count = n;
        all = whole(n);
        from = -1 - shown.length; // none is where it was
        show();
      },
      row: (i) => shown[i - from],
      // Brings row i into sight and returns it.
      reveal(i, header = 0) {
        const top = i * height;
        const room = scroller.clientHeight - header;
        if (top < scroller.scrollTop) scroller.scrollTop = top;
        else if (top + height > scroller.scrollTop + room) scroller.scrollTop = top + height - room;
        show();
        return shown[i - from];
      },
      // For the printer: all rows at once, up to `most`.
      whole(on, most) {
        all = on ? count <= most : whole(count);
        show();
      },
      close: () => resized.disconnect(),
    };
  };
})();
