// What the pages do beyond HTML. Every page works without it: forms submit, links lead, tables stand beside the charts.

const root = document.documentElement;

/** Light or dark by choice; the choice stays in this browser. */
const theme = {
    read: () => localStorage.getItem('theme') ?? 'auto',
    apply(choice) {
        if (choice === 'auto') delete root.dataset.theme;
        else root.dataset.theme = choice;
    },
};
theme.apply(theme.read());

for (const button of document.querySelectorAll('[data-theme-switch]')) {
    button.hidden = false;
    button.addEventListener('click', () => {
        const isDark = getComputedStyle(root).colorScheme === 'dark'
            || (root.dataset.theme === undefined && matchMedia('(prefers-color-scheme: dark)').matches);
        const choice = isDark ? 'light' : 'dark';
        localStorage.setItem('theme', choice);
        theme.apply(choice);
    });
}

// A filter takes effect when it changes; its button is only for browsers without scripts.
for (const form of document.querySelectorAll('form[data-auto]')) {
    form.querySelector('button')?.setAttribute('hidden', '');
    form.addEventListener('change', () => form.requestSubmit());
}

// A chart is one stop of the Tab key; arrows walk through its marks.
for (const plot of document.querySelectorAll('.chart-plot')) {
    const marks = [...plot.querySelectorAll('.hit')];
    marks.forEach((mark, index) => mark.setAttribute('tabindex', index === marks.length - 1 ? '0' : '-1'));
    plot.addEventListener('keydown', (event) => {
        const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
        const at = marks.indexOf(document.activeElement);
        if (step === undefined || at < 0) return;
        event.preventDefault();
        const next = marks[Math.min(marks.length - 1, Math.max(0, at + step))];
        marks[at].setAttribute('tabindex', '-1');
        next.setAttribute('tabindex', '0');
        next.focus();
    });
}

// "/" goes to the search field of a list.
addEventListener('keydown', (event) => {
    const field = document.querySelector('input[type=search]');
    const isTyping = document.activeElement?.matches('input, select, textarea');
    if (event.key !== '/' || isTyping || field === null || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    field.focus();
});
