/* Overwrites memory that held secrets. A program of its own: see hecore/backends/secret_buffer.py. */

KERNEL(wipe)(GLOBAL u64 *RESTRICT out, u64 count) {
    u64 at = (u64)BLOCK_ID * BLOCK + THREAD_ID;
    if (at < count) {
        out[at] = 0;
    }
}
