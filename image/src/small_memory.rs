//! Boots the kernel under UEFI where memory is small.
//!
//! A loader under UEFI must find the kernel's working space (56 MiB) in one piece while the firmware still owns its memory.
//! With 128 MiB, OVMF's own stack lies in the middle and the largest piece has 39 MiB. So GRUB is given a tiny program in the
//! kernel's boot format, and kernel and initrd together as its "initrd", which needs 16 MiB. GRUB ends the firmware's
//! services and starts it; now all memory is free, and it puts the kernel where it belongs and jumps there.
//!
//! Only used after the ordinary way failed for want of memory: it takes 16 MiB and up for free, which holds for OVMF on a
//! small machine and need not hold elsewhere. Boot protocol: kernel documentation, arch/x86/boot.

use std::ops::Range;

/// Where the kernel is put; its preferred address.
const KERNEL_AT: u32 = 0x0100_0000;
/// Offsets in the kernel's header and in the boot parameters, which begin with a copy of it.
const SETUP_SECTORS: u16 = 0x1f1;
const MAGIC: u16 = 0x202;
const CODE_START: u16 = 0x214;
const RAMDISK_AT: u16 = 0x218;
const RAMDISK_SIZE: u16 = 0x21c;
const ALIGNMENT: u16 = 0x230;
const MIN_ALIGNMENT: u16 = 0x234;
const PREFERRED: u16 = 0x258;
const INIT_SIZE: u16 = 0x260;
const PAGE: usize = 4096;
const SECTOR: usize = 512;

/// Fills the kernel's file up to whole pages, so that the initrd behind it begins on one.
pub(crate) fn padded(kernel: &[u8]) -> Vec<u8> {
    let mut padded = kernel.to_vec();
    padded.resize(kernel.len().next_multiple_of(PAGE), 0);
    padded
}

/// The program for this (padded) kernel and an initrd of this size; `None` when it is no kernel.
pub(crate) fn program(kernel: &[u8], initrd_size: u32) -> Option<Vec<u8>> {
    if kernel.get(range(MAGIC, 4))? != b"HdrS" {
        return None;
    }
    let setup = (usize::from(*kernel.get(usize::from(SETUP_SECTORS))?) + 1) * SECTOR;
    let mut program = kernel.get(..setup)?.to_vec();
    // not an EFI program: GRUB then boots it without the firmware
    put(&mut program, 0, &[0, 0])?;
    put(&mut program, ALIGNMENT, &0x1000_u32.to_le_bytes())?;
    put(&mut program, MIN_ALIGNMENT, &[12])?;
    put(&mut program, PREFERRED, &0x0010_0000_u64.to_le_bytes())?;
    put(&mut program, INIT_SIZE, &0x1000_u32.to_le_bytes())?;
    let mut code = code(&Facts {
        setup: u32::try_from(setup).ok()?,
        kernel_size: u32::try_from(kernel.len()).ok()?,
        initrd_size,
        alignment: word(kernel, ALIGNMENT)?,
        init_size: word(kernel, INIT_SIZE)?,
    });
    code.resize(PAGE, 0);
    program.extend(code);
    Some(program)
}

struct Facts {
    setup: u32,
    kernel_size: u32,
    initrd_size: u32,
    alignment: u32,
    init_size: u32,
}

/// 32-bit code; GRUB leaves the boot parameters' address in esi, paging and interrupts off.
fn code(facts: &Facts) -> Vec<u8> {
    let mut code = Code(Vec::new());
    code.op(&[0xfc]); // cld
    code.op(&[0x89, 0xf2]); // mov edx, esi
    code.with(&[0x8b, 0x9a], RAMDISK_AT.into()); // mov ebx, [edx + ramdisk]
    code.with(&[0x81, 0xfb], KERNEL_AT.saturating_add(facts.init_size)); // cmp ebx, end of the working space
    code.op(&[0x73, 0x03, 0xf4, 0xeb, 0xfd]); // jae +3; 1: hlt; jmp 1b
    code.with(&[0x8d, 0xb3], facts.setup); // lea esi, [ebx + setup]
    code.with(&[0xbf], KERNEL_AT); // mov edi, kernel
    code.with(&[0xb9], (facts.kernel_size - facts.setup) / 4); // mov ecx, words
    code.op(&[0xf3, 0xa5]); // rep movsd
    code.with(&[0x81, 0xc3], facts.kernel_size); // add ebx, kernel size
    code.with(&[0x89, 0x9a], RAMDISK_AT.into()); // mov [edx + ramdisk], ebx
    code.store(RAMDISK_SIZE, facts.initrd_size);
    code.store(CODE_START, KERNEL_AT);
    code.store(ALIGNMENT, facts.alignment);
    code.store(PREFERRED, KERNEL_AT);
    code.store(INIT_SIZE, facts.init_size);
    code.op(&[0x89, 0xd6]); // mov esi, edx
    code.op(&[0x31, 0xdb, 0x31, 0xed, 0x31, 0xff]); // xor ebx, ebx; xor ebp, ebp; xor edi, edi
    code.with(&[0xb8], KERNEL_AT); // mov eax, kernel
    code.op(&[0xff, 0xe0]); // jmp eax
    code.0
}

struct Code(Vec<u8>);

impl Code {
    fn op(&mut self, bytes: &[u8]) {
        self.0.extend(bytes);
    }

    fn with(&mut self, bytes: &[u8], value: u32) {
        self.op(bytes);
        self.op(&value.to_le_bytes());
    }

    /// mov dword [edx + at], value
    fn store(&mut self, at: u16, value: u32) {
        self.with(&[0xc7, 0x82], at.into());
        self.op(&value.to_le_bytes());
    }
}

fn range(at: u16, length: usize) -> Range<usize> {
    let at = usize::from(at);
    at..at + length
}

fn word(bytes: &[u8], at: u16) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(range(at, 4))?.try_into().ok()?))
}

fn put(bytes: &mut [u8], at: u16, value: &[u8]) -> Option<()> {
    bytes.get_mut(range(at, value.len()))?.copy_from_slice(value);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernel() -> Vec<u8> {
        let mut kernel = vec![0xcc; 3 * PAGE + 5];
        kernel[usize::from(SETUP_SECTORS)] = 3;
        kernel[range(MAGIC, 4)].copy_from_slice(b"HdrS");
        kernel[range(INIT_SIZE, 4)].copy_from_slice(&0x0380_0000_u32.to_le_bytes());
        padded(&kernel)
    }

    #[test]
    fn the_program_asks_for_little_memory_and_restores_the_kernels_numbers() {
        let program = program(&kernel(), 0x1234).unwrap();
        assert_eq!(program.len(), 4 * SECTOR + PAGE);
        assert_eq!(word(&program, INIT_SIZE), Some(0x1000));
        let code = &program[4 * SECTOR..];
        let holds = |bytes: &[u8]| code.windows(bytes.len()).any(|window| window == bytes);
        assert!(holds(&[0xc7, 0x82, 0x60, 2, 0, 0, 0, 0, 0x80, 3]), "the working space");
        assert!(holds(&[0xc7, 0x82, 0x1c, 2, 0, 0, 0x34, 0x12, 0, 0]), "the initrd's size");
        assert!(holds(&[0xb9, 0x00, 0x0e, 0, 0, 0xf3, 0xa5]), "the kernel's words");
    }

    #[test]
    fn the_initrd_follows_on_a_page() {
        assert_eq!(kernel().len() % PAGE, 0);
        assert!(program(&[0; 8192], 1).is_none());
    }
}
