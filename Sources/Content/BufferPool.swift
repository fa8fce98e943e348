internal import Synchronization

/// Memory for parts. Buffers of the full part size are used again: fresh ones cost the kernel a page fault and a
/// cleared page for every 4 KiB, which a profile of a sequential read showed as a third of the network thread's time.
///
/// Idle buffers are kept as addresses; each is here or with the one part that took it, never both.
final class BufferPool: Sendable {
    private let idle = Mutex<[UInt]>([])
    private let sizeBytes: Int
    private let idleMax: Int

    init(sizeBytes: Int, idleMax: Int) {
        self.sizeBytes = sizeBytes
        self.idleMax = idleMax
    }

    deinit {
        for address in idle.withLock({ $0 }) { UnsafeMutableRawPointer(bitPattern: address)?.deallocate() }
    }

    func take(_ count: Int) -> UnsafeMutableRawPointer {
        if count == sizeBytes, let address = idle.withLock({ $0.popLast() }),
            let buffer = UnsafeMutableRawPointer(bitPattern: address)
        {
            return buffer
        }
        return .allocate(byteCount: max(count, 1), alignment: 4096)
    }

    func giveBack(_ buffer: UnsafeMutableRawPointer, _ count: Int) {
        let isKept = idle.withLock { idle in
            guard count == sizeBytes, idle.count < idleMax else { return false }
            idle.append(UInt(bitPattern: buffer))
            return true
        }
        if !isKept { buffer.deallocate() }
    }
}
