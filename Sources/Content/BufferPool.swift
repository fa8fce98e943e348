internal import Glibc
internal import Synchronization

/// Memory for parts. Buffers are used again: fresh ones cost the kernel a page fault and a cleared page for every
/// 4 KiB, which a profile of a sequential read showed as a third of the network thread's time. They come from the
/// kernel and go back to it: what malloc takes for buffers of a MiB that many threads give back, it keeps (300 MiB were
/// seen where 50 were in use).
///
/// Idle buffers are kept as addresses; each is here or with the one part that took it, never both.
final class BufferPool: Sendable {
    private struct Idle {
        /// What was given back last stands last.
        var buffers: [(address: UInt, size: Int)] = []
        var bytes = 0
    }

    private let idle = Mutex(Idle())
    private let idleBytesMax: Int

    private static let classMin = 64 << 10

    init(idleBytesMax: Int) { self.idleBytesMax = idleBytesMax }

    deinit {
        for buffer in idle.withLock({ $0.buffers }) { Self.unmap(buffer) }
    }

    /// Of so many bytes, with whatever in them.
    func take(_ count: Int) -> UnsafeMutableRawPointer {
        let size = Self.sizeClass(count)
        let known = idle.withLock { idle -> UInt? in
            guard let index = idle.buffers.lastIndex(where: { $0.size == size }) else { return nil }
            idle.bytes -= size
            return idle.buffers.remove(at: index).address
        }
        if let known, let buffer = UnsafeMutableRawPointer(bitPattern: known) { return buffer }
        guard let buffer = mmap(nil, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
            buffer != MAP_FAILED
        else { preconditionFailure("no memory for \(size) bytes: \(errno)") }
        return buffer
    }

    /// Those that were idle longest make room: the sizes that a stream began with are of no use to it later.
    func giveBack(_ buffer: UnsafeMutableRawPointer, _ count: Int) {
        let size = Self.sizeClass(count)
        let superfluous = idle.withLock { idle in
            idle.buffers.append((UInt(bitPattern: buffer), size))
            idle.bytes += size
            var count = 0
            while idle.bytes > idleBytesMax {
                idle.bytes -= idle.buffers[count].size
                count += 1
            }
            defer { idle.buffers.removeFirst(count) }
            return idle.buffers.prefix(count)
        }
        for buffer in superfluous { Self.unmap(buffer) }
    }

    private static func unmap(_ buffer: (address: UInt, size: Int)) {
        munmap(UnsafeMutableRawPointer(bitPattern: buffer.address), buffer.size)
    }

    /// A power of two: few sizes, which fit each other's parts.
    private static func sizeClass(_ count: Int) -> Int {
        var size = classMin
        while size < count { size *= 2 }
        return size
    }
}
