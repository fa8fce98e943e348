import Glibc
import NIOCore
import Synchronization
import ThawCore

/// The bodies that were uploaded, by number: files under the data directory, or memory without one.
/// A blob is written once, by one `BlobWriter`, and never changes.
final class BlobStore: Sendable {
    /// Nil keeps blobs in memory.
    let directory: String?
    private let memory = Mutex<[Int64: [ByteBuffer]]>([:])
    private let use = Mutex(Use())

    /// Who reads while what is removed.
    fileprivate struct Use {
        var nextLease = 0
        var leases: Set<Int> = []
        /// To be removed once all leases have ended that are older than that.
        var condemned: [(before: Int, blobs: [Int64])] = []
    }

    /// While it lives, every blob that was there when it was given out stays.
    final class Lease: Sendable {
        private let store: BlobStore
        private let number: Int

        fileprivate init(_ store: BlobStore, _ number: Int) {
            self.store = store
            self.number = number
        }

        deinit { store.end(number) }
    }

    /// A blob in memory is cut into pieces of this size, so that any offset is found at once.
    static let pieceBytes = 1 << 20

    init(directory: String?) throws(ProviderError) {
        self.directory = directory
        if let directory, mkdir(directory, 0o755) != 0, errno != EEXIST {
            throw .internalError("cannot create \(directory): \(String(cString: strerror(errno)))")
        }
    }

    func path(_ blob: Int64) -> String { "\(directory ?? "")/\(blob)" }

    /// For whoever is about to look up blobs and read them.
    func lease() -> Lease {
        let number = use.withLock { use in
            use.nextLease += 1
            use.leases.insert(use.nextLease)
            return use.nextLease
        }
        return Lease(self, number)
    }

    private func end(_ lease: Int) {
        let unread = use.withLock { use in
            use.leases.remove(lease)
            return use.takeUnread()
        }
        erase(unread)
    }

    /// Removes blobs that nothing refers to any more, as soon as nobody reads them.
    func remove(_ blobs: [Int64]) {
        guard !blobs.isEmpty else { return }
        let unread = use.withLock { use in
            use.condemned.append((use.nextLease, blobs))
            return use.takeUnread()
        }
        erase(unread)
    }

    private func erase(_ blobs: [Int64]) {
        guard !blobs.isEmpty else { return }
        if directory != nil {
            // One that cannot be removed is removed when the emulator starts again.
            for blob in blobs { unlink(path(blob)) }
        } else {
            memory.withLock { memory in
                for blob in blobs { memory[blob] = nil }
            }
        }
    }

    /// Removes the files of all blobs but these.
    func removeAll(but known: Set<Int64>) {
        guard let directory else { return }
        for name in LocalDirectory.names(in: directory) {
            if let number = Int64(name), !known.contains(number) { unlink(path(number)) }
        }
    }

    func keep(_ pieces: [ByteBuffer], as blob: Int64) { memory.withLock { $0[blob] = pieces } }

    /// At most `max` bytes of a blob in memory; empty past its end.
    func slice(_ blob: Int64, offset: UInt64, max: Int) -> ByteBuffer {
        let piece = memory.withLock { memory -> ByteBuffer? in
            guard let pieces = memory[blob] else { return nil }
            let index = Int(offset) / Self.pieceBytes
            return index < pieces.count ? pieces[index] : nil
        }
        guard let piece else { return ByteBuffer() }
        let start = Int(offset) % Self.pieceBytes
        return piece.getSlice(at: start, length: min(max, piece.readableBytes - start)) ?? ByteBuffer()
    }
}

extension BlobStore.Use {
    fileprivate mutating func takeUnread() -> [Int64] {
        guard !condemned.isEmpty else { return [] }
        let oldest = leases.min() ?? .max
        let count = condemned.prefix { $0.before < oldest }.count
        defer { condemned.removeFirst(count) }
        return condemned.prefix(count).flatMap(\.blobs)
    }
}

/// Takes in the bytes of one blob, in order.
struct BlobWriter: ~Copyable {
    let blob: Int64
    private let store: BlobStore
    /// -1 for a blob in memory.
    private let descriptor: Int32
    private var pieces: [ByteBuffer] = []

    init(_ blob: Int64, in store: BlobStore) throws(ProviderError) {
        self.blob = blob
        self.store = store
        guard store.directory != nil else {
            descriptor = -1
            return
        }
        descriptor = open(store.path(blob), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else {
            throw .internalError("cannot write \(store.path(blob)): \(String(cString: strerror(errno)))")
        }
    }

    deinit {
        if descriptor >= 0 { close(descriptor) }
    }

    mutating func write(_ buffer: ByteBuffer) throws(ProviderError) {
        guard descriptor >= 0 else { return gather(buffer) }
        let failure = buffer.withUnsafeReadableBytes { bytes -> Int32 in
            var written = 0
            while written < bytes.count, let start = bytes.baseAddress {
                let count = Glibc.write(descriptor, start + written, bytes.count - written)
                if count < 0 && errno == EINTR { continue }
                if count < 0 { return errno }
                written += count
            }
            return 0
        }
        guard failure == 0 else {
            throw .internalError("cannot write a body: \(String(cString: strerror(failure)))")
        }
    }

    private mutating func gather(_ buffer: ByteBuffer) {
        var rest = buffer
        while rest.readableBytes > 0 {
            if pieces.last.map({ $0.readableBytes == BlobStore.pieceBytes }) ?? true {
                pieces.append(ByteBuffer())
            }
            let room = BlobStore.pieceBytes - pieces[pieces.count - 1].readableBytes
            guard var part = rest.readSlice(length: min(room, rest.readableBytes)) else { return }
            pieces[pieces.count - 1].writeBuffer(&part)
        }
    }

    consuming func finish() {
        if descriptor < 0 { store.keep(pieces, as: blob) }
    }
}
