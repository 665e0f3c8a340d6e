// Keys that a browser keeps for itself, and text typed key by key.

import keysyms from "../novnc/core/input/keysymdef.js";
import KeyTable from "../novnc/core/input/keysym.js";

// Held down until pressed again: [label, keysym, code].
export const HELD = [
    ["Ctrl", KeyTable.XK_Control_L, "ControlLeft"],
    ["Shift", KeyTable.XK_Shift_L, "ShiftLeft"],
    ["Alt", KeyTable.XK_Alt_L, "AltLeft"],
    ["AltGr", KeyTable.XK_ISO_Level3_Shift, "AltRight"],
    ["Super", KeyTable.XK_Super_L, "MetaLeft"],
];

export const SINGLE = [
    ["Esc", KeyTable.XK_Escape, "Escape"],
    ["Tab", KeyTable.XK_Tab, "Tab"],
    ["Print", KeyTable.XK_Print, "PrintScreen"],
    ["F11", KeyTable.XK_F11, "F11"],
    ["F12", KeyTable.XK_F12, "F12"],
];

// Ctrl+Alt+F1 to F6: the text terminals of Linux.
export const TERMINALS = [1, 2, 3, 4, 5, 6].map(
    (number) => [`Ctrl+Alt+F${number}`, KeyTable[`XK_F${number}`], `F${number}`]);

// Where characters are on a US keyboard: code, unshifted, shifted.
const US = [
    ["Backquote", "`", "~"], ["Digit1", "1", "!"], ["Digit2", "2", "@"], ["Digit3", "3", "#"],
    ["Digit4", "4", "$"], ["Digit5", "5", "%"], ["Digit6", "6", "^"], ["Digit7", "7", "&"],
    ["Digit8", "8", "*"], ["Digit9", "9", "("], ["Digit0", "0", ")"], ["Minus", "-", "_"],
    ["Equal", "=", "+"], ["BracketLeft", "[", "{"], ["BracketRight", "]", "}"],
    ["Backslash", "\\", "|"], ["Semicolon", ";", ":"], ["Quote", "'", "\""], ["Comma", ",", "<"],
    ["Period", ".", ">"], ["Slash", "/", "?"], ["Space", " ", " "], ["Enter", "\n", "\n"],
    ["Tab", "\t", "\t"],
    ...[..."abcdefghijklmnopqrstuvwxyz"].map(
        (letter) => [`Key${letter.toUpperCase()}`, letter, letter.toUpperCase()]),
];

const PLACE = new Map();
for (const [code, plain, shifted] of US) {
    PLACE.set(shifted, { code, shift: shifted !== plain });
    PLACE.set(plain, { code, shift: false });
}

const SYMBOL = { "\n": KeyTable.XK_Return, "\t": KeyTable.XK_Tab };

// Types `text`; characters that a US keyboard lacks go as symbols, which the VM may or may not know.
export async function type(rfb, text) {
    for (const character of text.replaceAll("\r\n", "\n")) {
        const place = PLACE.get(character);
        const symbol = SYMBOL[character] ?? keysyms.lookup(character.codePointAt(0));
        const shift = place?.shift ?? false;
        if (shift) { rfb.sendKey(KeyTable.XK_Shift_L, "ShiftLeft", true); }
        rfb.sendKey(symbol, place?.code ?? null);
        if (shift) { rfb.sendKey(KeyTable.XK_Shift_L, "ShiftLeft", false); }
        // guests take keys one by one from a small queue
        await new Promise((done) => setTimeout(done, 15));
    }
}

export function terminal(rfb, keysym, code) {
    rfb.sendKey(KeyTable.XK_Control_L, "ControlLeft", true);
    rfb.sendKey(KeyTable.XK_Alt_L, "AltLeft", true);
    rfb.sendKey(keysym, code);
    rfb.sendKey(KeyTable.XK_Alt_L, "AltLeft", false);
    rfb.sendKey(KeyTable.XK_Control_L, "ControlLeft", false);
}
