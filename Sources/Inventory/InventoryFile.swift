internal import Metadata
internal import ObjectStore
internal import Synchronization
internal import ThawCore
internal import Wire

/// One file of a report, read to its end: fetched in parts, unpacked, split into rows, and checked. Not `Sendable`.
final class InventoryFile {
    private let file: InventoryManifest.File
    private let store: any ObjectStore
    private let etag: String
    private var fetched: UInt64 = 0
    private var next: Task<Result<[UInt8], StoreError>, Never>?
    private let gunzip: Gunzip
    private var csv = CSVReader()
    private var md5 = Digest.MD5()
    private var unpacked = [UInt8](repeating: 0, count: 256 << 10)
    private var isFinished = false

    private static let partBytes: UInt64 = 4 << 20
    private static let documentBytesMax: UInt64 = 64 << 20

    private init(_ file: InventoryManifest.File, in store: any ObjectStore, etag: String) throws(InventoryProblem) {
        self.file = file
        self.store = store
        self.etag = etag
        gunzip = try Gunzip()
        next = fetch()
    }

    deinit { next?.cancel() }

    static func open(
        _ file: InventoryManifest.File, in store: any ObjectStore
    ) async throws(InventoryError) -> InventoryFile {
        let record: ObjectRecord
        do throws(StoreError) { record = try await store.head(file.key, version: nil) } catch {
            throw .store("\(file.key)", error)
        }
        guard record.sizeBytes == file.sizeBytes else {
            throw .unreadable(
                "\(file.key)", reason: "it has \(record.sizeBytes) bytes, and \(file.sizeBytes) by the manifest")
        }
        do throws(InventoryProblem) { return try InventoryFile(file, in: store, etag: record.etag) } catch {
            throw .unreadable("\(file.key)", error)
        }
    }

    /// A small object as a whole.
    static func document(_ key: ObjectKey, in store: any ObjectStore) async throws(StoreError) -> [UInt8] {
        let sink = PartSink()
        let record = try await store.get(key, version: nil, range: 0..<documentBytesMax, ifMatch: nil, into: sink)
        guard record.sizeBytes <= documentBytesMax else {
            throw StoreError(.nonsense, code: "TooLarge", message: "\(record.sizeBytes) bytes are no manifest")
        }
        return sink.taken
    }

    // MARK: Rows

    /// Reads on until at least `rowsMax` rows are decoded. False when there are none any more, and all was as it should
    /// be.
    func read(into decoder: inout InventoryDecoder, rowsMax: Int) async throws(InventoryError) -> Bool {
        while try step(&decoder, rowsMax), let part = try await part() {
            part.withUnsafeBytes { md5.update($0) }
            gunzip.take(part)
        }
        return !decoder.batch.rows.isEmpty
    }

    /// Decodes what is at hand. True when more is needed.
    private func step(_ decoder: inout InventoryDecoder, _ rowsMax: Int) throws(InventoryError) -> Bool {
        do throws(InventoryProblem) {
            while decoder.batch.rows.count < rowsMax, let count = try gunzip.read(into: &unpacked) {
                try csv.feed(unpacked.prefix(count), isLast: false) { row throws(InventoryProblem) in
                    try decoder.add(row)
                }
            }
            if decoder.batch.rows.count >= rowsMax || isFinished { return false }
            if fetched < file.sizeBytes { return true }
            isFinished = true
            try gunzip.finish()
            try csv.feed([], isLast: true) { row throws(InventoryProblem) in try decoder.add(row) }
            guard Hex.encode(md5.value) == file.md5 else {
                throw InventoryProblem(reason: "its MD5 is not the one in the manifest")
            }
            return false
        } catch {
            throw .unreadable("\(file.key)", error)
        }
    }

    // MARK: Bytes

    /// The next part, while the one after it is fetched; nil after the last.
    private func part() async throws(InventoryError) -> [UInt8]? {
        guard let next else { return nil }
        do throws(StoreError) {
            let part = try await next.value.get()
            fetched += UInt64(part.count)
            self.next = fetch()
            return part
        } catch {
            throw .store("\(file.key)", error)
        }
    }

    private func fetch() -> Task<Result<[UInt8], StoreError>, Never>? {
        guard fetched < file.sizeBytes else { return nil }
        let range = fetched..<min(fetched + Self.partBytes, file.sizeBytes)
        return Task { [store, key = file.key, etag] in
            let sink = PartSink()
            do throws(StoreError) {
                _ = try await store.get(key, version: nil, range: range, ifMatch: etag, into: sink)
                return .success(sink.taken)
            } catch {
                return .failure(error)
            }
        }
    }
}

/// Collects the bytes of one part.
private final class PartSink: ByteSink {
    private let bytes = Mutex<[UInt8]>([])

    var taken: [UInt8] { bytes.withLock { $0 } }

    func receive(_ piece: UnsafeRawBufferPointer) -> Bool {
        bytes.withLock { $0.append(contentsOf: piece) }
        return true
    }
}
