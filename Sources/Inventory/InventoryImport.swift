package import Logging
package import Metadata
package import ObjectStore
package import ThawCore
internal import Wire

/// Brings a report of a bucket into the metadata store: finds its manifest, and streams its files, which are checked
/// against the manifest, into a `CacheLoad`. Memory is bounded by a few parts and batches, however long the report.
package struct InventoryImport: Sendable {
    private let store: any ObjectStore
    private let source: any ObjectStore
    private let sourceBucket: String
    private let prefix: ObjectKey
    private let location: InventoryLocation
    private let log: Logger

    private static let manifestName = Array("manifest.json".utf8)
    private static let checksumName = Array("manifest.checksum".utf8)
    private static let batchRows = 16_384
    private static let logEvery = 1_000_000

    package struct Outcome: Sendable {
        /// What the store was loaded from; nil when it was loaded from this report, or a newer one, before.
        package var loaded: LoadedReport?
        /// The current objects that the report has.
        package var objects = 0
    }

    /// - Parameters:
    ///   - store: the bucket that has the report
    ///   - source: the bucket that the report is to be about
    ///   - sourceBucket: its name
    ///   - prefix: what of it is of interest; empty, or ends in `/`
    package init(
        _ location: InventoryLocation, in store: any ObjectStore, about source: any ObjectStore,
        of sourceBucket: String, prefix: ObjectKey, log: Logger
    ) {
        self.location = location
        self.store = store
        self.source = source
        self.sourceBucket = sourceBucket
        self.prefix = prefix
        self.log = log
    }

    /// - Parameter onlyNewer: leaves a store alone that was loaded from this report or a newer one
    package func run(into load: CacheLoad, onlyNewer: Bool) async throws(InventoryError) -> Outcome {
        let key = try await manifestKey()
        let manifest = try await manifest(key)
        try await checkFilter(key)
        do throws(MetadataError) {
            if onlyNewer, let latest = try await load.latest(), latest.asOf >= manifest.createdAt {
                log.info("inventory \(key), of \(WireDate.iso8601(manifest.createdAt)), is not newer than what is known")
                return Outcome()
            }
            try await load.begin(prefix, asOf: manifest.createdAt)
        } catch {
            throw .metadata(error)
        }
        do throws(InventoryError) {
            let started = ContinuousClock.now
            let objects = try await read(manifest, into: load)
            let report = LoadedReport(manifest: "\(key)", asOf: manifest.createdAt, loadedAt: .now())
            do throws(MetadataError) { try await load.finish(report) } catch { throw .metadata(error) }
            let seconds = (ContinuousClock.now - started).secondsRounded
            log.info("inventory \(key), of \(WireDate.iso8601(manifest.createdAt)): \(objects) objects in \(Int(seconds.rounded(.up))) s")
            return Outcome(loaded: report, objects: objects)
        } catch {
            await load.abandon()
            throw error
        }
    }

    // MARK: The manifest

    private func manifestKey() async throws(InventoryError) -> ObjectKey {
        guard location.isPrefix else { return location.key }
        var newest: ListedObject?
        do throws(StoreError) {
            var pages = Listing(store, ListRequest(prefix: location.key, delimiter: nil))
            while let page = try await pages.next() {
                for object in page.objects where Self.isManifest(object.key) {
                    if let newest, newest.record.modified > object.record.modified { continue }
                    newest = object
                }
            }
        } catch {
            throw .store("\(location.key)", error)
        }
        guard let newest else { throw .noManifest("\(location.key)") }
        return newest.key
    }

    private static func isManifest(_ key: ObjectKey) -> Bool {
        key.bytes.suffix(manifestName.count).elementsEqual(manifestName)
    }

    private func manifest(_ key: ObjectKey) async throws(InventoryError) -> InventoryManifest {
        let bytes = try await document(key)
        try await checkManifest(key, bytes)
        let manifest: InventoryManifest
        do throws(InventoryProblem) { manifest = try InventoryManifest(bytes) } catch {
            throw .unreadable("\(key)", error)
        }
        guard !manifest.createdAt.isAhead(of: .now()) else {
            let time = WireDate.iso8601(manifest.createdAt)
            throw .unreadable("\(key)", reason: "it is of \(time), which by this machine's clock is yet to come")
        }
        guard manifest.sourceBucket == sourceBucket else {
            throw .unreadable("\(key)", reason: "it is about the bucket \(manifest.sourceBucket), not \(sourceBucket)")
        }
        return manifest
    }

    /// `manifest.checksum` beside a `manifest.json` has its MD5 in hexadecimal digits. A manifest that was copied
    /// elsewhere may come without.
    private func checkManifest(_ key: ObjectKey, _ bytes: [UInt8]) async throws(InventoryError) {
        guard Self.isManifest(key) else { return }
        let checksum = ObjectKey(key.bytes.dropLast(Self.manifestName.count) + Self.checksumName)
        let told: [UInt8]
        do throws(InventoryError) { told = try await document(checksum) } catch {
            guard case .store(_, let cause) = error, cause.kind == .noSuchKey else { throw error }
            return log.notice("inventory \(key): there is no manifest.checksum beside it, so the manifest is not checked")
        }
        let digits = told.filter { $0 > 0x20 }
        guard String(decoding: digits, as: UTF8.self).lowercased() == Hex.encode(Digest.md5(bytes)) else {
            throw .unreadable("\(key)", reason: "its MD5 is not the one in \(checksum)")
        }
    }

    /// A report lies below its configuration's id and its own time: `…/ID/2024-01-02T00-00Z/manifest.json`. Who may
    /// not see the configuration, or has moved the report, is believed to know what it has.
    private func checkFilter(_ key: ObjectKey) async throws(InventoryError) {
        let names = key.bytes.split(separator: UInt8(ascii: "/"))
        guard Self.isManifest(key), names.count > 2 else { return }
        let id = String(decoding: names[names.count - 3], as: UTF8.self)
        let configuration: [UInt8]
        do throws(StoreError) {
            configuration = try await source.configuration(BucketConfiguration(.inventory, id: id))
        } catch {
            return log.info("inventory \(key): what “\(id)” leaves out cannot be told: \(error)")
        }
        if let problem = InventoryFilter.problem(configuration, id: id) { throw .unreadable("\(key)", problem) }
    }

    private func document(_ key: ObjectKey) async throws(InventoryError) -> [UInt8] {
        do throws(StoreError) { return try await InventoryFile.document(key, in: store) } catch {
            throw .store("\(key)", error)
        }
    }

    // MARK: The files

    private func read(_ manifest: InventoryManifest, into load: CacheLoad) async throws(InventoryError) -> Int {
        var decoder = InventoryDecoder(manifest.columns, store.dialect)
        var progress = Progress(files: manifest.files.count, log: log)
        var writing: Task<Result<Void, MetadataError>, Never>?
        for file in manifest.files {
            progress.file += 1
            let reader = try await InventoryFile.open(file, in: store)
            while try await reader.read(into: &decoder, rowsMax: Self.batchRows) {
                let batch = decoder.takeBatch()
                progress.add(batch.rows.count)
                // One batch is written while the next one is unpacked.
                if let writing { try Self.finished(await writing.value) }
                writing = Task { await Self.write(batch, load) }
            }
        }
        if let writing { try Self.finished(await writing.value) }
        return progress.objects
    }

    private static func write(_ batch: LoadBatch, _ load: CacheLoad) async -> Result<Void, MetadataError> {
        do throws(MetadataError) { return .success(try await load.add(batch)) } catch { return .failure(error) }
    }

    private static func finished(_ result: Result<Void, MetadataError>) throws(InventoryError) {
        do throws(MetadataError) { try result.get() } catch { throw .metadata(error) }
    }

    private struct Progress {
        let files: Int
        let log: Logger
        var file = 0
        var objects = 0

        mutating func add(_ count: Int) {
            let before = objects / InventoryImport.logEvery
            objects += count
            if objects / InventoryImport.logEvery > before {
                log.info("inventory: \(objects) objects, file \(file) of \(files)")
            }
        }
    }
}
