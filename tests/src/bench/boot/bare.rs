//! The rival of the boot benchmark: the template's own kernel with an init that says one line and waits.
//!
//! The init is a program of two system calls, written as bytes, so that nothing but the kernel is measured.

/// What the init says.
pub(super) const SAID: &str = "bare kernel is up";

/// Where the program is in memory; headers come first in the file.
const BASE: u64 = 0x40_0000;
const HEADERS: u64 = 64 + 56;

/// An archive with that init alone.
pub(super) fn initrd() -> Vec<u8> {
    sluice_image::archive("init", elf())
}

/// A static x86-64 program: ELF header, one program header (System V ABI, chapters 4 and 5), code, text.
fn elf() -> Vec<u8> {
    let text = format!("{SAID}\n");
    let code = code(&text);
    let size = HEADERS + u64::try_from(code.len()).unwrap_or(0);
    let mut out = vec![0x7f, b'E', b'L', b'F', 2, 1, 1];
    out.resize(16, 0);
    for half in [2_u16, 62] {
        out.extend(half.to_le_bytes());
    }
    out.extend(1_u32.to_le_bytes());
    for word in [BASE + HEADERS, 64, 0] {
        out.extend(word.to_le_bytes());
    }
    out.extend(0_u32.to_le_bytes());
    for half in [64_u16, 56, 1, 0, 0, 0] {
        out.extend(half.to_le_bytes());
    }
    for half in [1_u32, 5] {
        out.extend(half.to_le_bytes());
    }
    for word in [0, BASE, BASE, size, size, 0x1000] {
        out.extend(word.to_le_bytes());
    }
    out.extend(code);
    out
}

/// write(1, text), then pause() for ever.
fn code(text: &str) -> Vec<u8> {
    let length = u32::try_from(text.len()).unwrap_or(0);
    let mut code = vec![0xb8, 1, 0, 0, 0, 0xbf, 1, 0, 0, 0]; // mov eax, 1; mov edi, 1
    code.extend([0x48, 0x8d, 0x35]); // lea rsi, [rip + 16]: over what follows
    code.extend(16_u32.to_le_bytes());
    code.push(0xba); // mov edx, length
    code.extend(length.to_le_bytes());
    code.extend([0x0f, 0x05]); // syscall
    code.extend([0xb8, 34, 0, 0, 0, 0x0f, 0x05, 0xeb, 0xf7]); // mov eax, 34; syscall; again
    code.extend(text.as_bytes());
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_program_that_says_its_line() {
        let elf = elf();
        let entry = elf.get(24..32).and_then(|word| word.try_into().ok()).map(u64::from_le_bytes);
        assert_eq!(entry, Some(BASE + HEADERS));
        assert!(elf.ends_with(format!("{SAID}\n").as_bytes()));
    }
}
