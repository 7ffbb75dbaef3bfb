// Memory: up to six slabs that hold everything words are computed from, a table of constants, and the arguments of
// queued launches. An address is a slab's number (three bits) and a word's place in it (29 bits).

@group(0) @binding(0) var<storage, read_write> slab_0: array<u32>;
@group(0) @binding(1) var<storage, read_write> slab_1: array<u32>;
@group(0) @binding(2) var<storage, read_write> slab_2: array<u32>;
@group(0) @binding(3) var<storage, read_write> slab_3: array<u32>;
@group(0) @binding(4) var<storage, read_write> slab_4: array<u32>;
@group(0) @binding(5) var<storage, read_write> slab_5: array<u32>;
@group(0) @binding(6) var<storage, read> constants: array<vec2<u32>>;
@group(0) @binding(7) var<storage, read> arguments: array<u32>;

// What stands for "no address".
const NOWHERE: u32 = 0xffffffffu;

fn load(address: u32) -> u32 {
    let place = address & 0x1fffffffu;
    switch address >> 29u {
        case 0u: { return slab_0[place]; }
        case 1u: { return slab_1[place]; }
        case 2u: { return slab_2[place]; }
        case 3u: { return slab_3[place]; }
        case 4u: { return slab_4[place]; }
        default: { return slab_5[place]; }
    }
}

fn store(address: u32, word: u32) {
    let place = address & 0x1fffffffu;
    switch address >> 29u {
        case 0u: { slab_0[place] = word; }
        case 1u: { slab_1[place] = word; }
        case 2u: { slab_2[place] = word; }
        case 3u: { slab_3[place] = word; }
        case 4u: { slab_4[place] = word; }
        default: { slab_5[place] = word; }
    }
}
