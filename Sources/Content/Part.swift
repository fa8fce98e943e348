internal import Glibc
internal import ObjectStore
internal import Synchronization

/// A contiguous run of an object's bytes, fetched by one GET and readable while it fills.
///
/// curl's buffer is copied here once, and from here straight to the kernel: nothing in between copies again. Whoever
/// holds a part keeps its memory; the cache only decides when it stops being found.
///
// SAFETY: @unchecked because of the raw buffer. The bytes below `filled` are written once, before `filled` is
// released to their end, and never again; only the one transfer that fills the part writes above it.
final class Part: ByteSink, @unchecked Sendable {
    let range: Range<UInt64>
    let file: FileContent
    private let base: UnsafeMutableRawPointer
    private let filledBytes = Atomic<Int>(0)
    private let fault = Mutex<StoreError?>(nil)
    /// When the part was last read, in ticks of the cache's counter.
    let lastUse = Atomic<UInt64>(0)
    /// Fetched ahead of a reader who has not come to its end yet.
    let isExpected: Atomic<Bool>
    /// On its way to the disk; the memory is in use until it is there.
    let isBeingKept = Atomic(false)

    private let buffers: BufferPool

    init(range: Range<UInt64>, file: FileContent, isExpected: Bool, buffers: BufferPool) {
        self.isExpected = Atomic(isExpected)
        self.range = range
        self.file = file
        self.buffers = buffers
        base = buffers.take(range.count)
    }

    deinit { buffers.giveBack(base, range.count) }

    var isComplete: Bool { filledBytes.load(ordering: .acquiring) == range.count }

    /// Why the bytes above `filledEnd` will never come.
    var failure: StoreError? { fault.withLock { $0 } }

    func fail(_ error: StoreError?) { fault.withLock { $0 = error } }

    /// The end of what can be read, as an offset in the object.
    var filledEnd: UInt64 { range.lowerBound + UInt64(filledBytes.load(ordering: .acquiring)) }

    /// The part's bytes in this range of the object, which must lie below `filledEnd`.
    func bytes(_ wanted: Range<UInt64>) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: base + Int(wanted.lowerBound - range.lowerBound), count: wanted.count)
    }

    /// Where the bytes of this range belong, for whoever fills the part other than by `receive`.
    func room(_ wanted: Range<UInt64>) -> UnsafeMutableRawBufferPointer {
        UnsafeMutableRawBufferPointer(start: base + Int(wanted.lowerBound - range.lowerBound), count: wanted.count)
    }

    /// All of it has been put into its room.
    func isFilled() {
        filledBytes.store(range.count, ordering: .releasing)
        _ = file.partGrew(self)
    }

    /// Takes the next bytes from the network thread and wakes the readers that they satisfy.
    func receive(_ bytes: UnsafeRawBufferPointer) -> Bool {
        let filled = filledBytes.load(ordering: .relaxed)
        guard let source = bytes.baseAddress, filled + bytes.count <= range.count else { return bytes.isEmpty }
        memcpy(base + filled, source, bytes.count)
        filledBytes.store(filled + bytes.count, ordering: .releasing)
        return file.partGrew(self)
    }
}

/// Bytes of a file, pinned for as long as this value lives.
package struct PinnedBytes: Sendable {
    private let parts: [(part: Part, range: Range<UInt64>)]
    private let own: [UInt8]

    init(_ parts: [(part: Part, range: Range<UInt64>)]) {
        self.parts = parts
        own = []
    }

    package init(_ bytes: [UInt8]) {
        parts = []
        own = bytes
    }

    package static let none = PinnedBytes([UInt8]())

    package var count: Int { parts.reduce(own.count) { $0 + $1.range.count } }

    /// The pieces in order; valid during the call only.
    package func withPieces<Result>(_ body: ([UnsafeRawBufferPointer]) -> Result) -> Result {
        if parts.isEmpty { return own.withUnsafeBytes { body($0.isEmpty ? [] : [$0]) } }
        return withExtendedLifetime(parts) { body(parts.map { $0.part.bytes($0.range) }) }
    }
}
