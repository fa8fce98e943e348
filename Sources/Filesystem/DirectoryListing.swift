internal import Metadata
internal import ObjectStore
internal import Synchronization
internal import ThawCore

/// One listing of one directory, page by page into the metadata store, as far as somebody wants it.
///
/// Readers wait for rows beyond the last they have seen; the listing keeps a few pages ahead of the furthest of them
/// and then rests, so that `ls | head` of a million names costs a handful of requests, and no page is held in memory.
actor DirectoryListing {
    /// Names this listing's rows in the metadata store. Its `listedAt` is `.epoch`: see `isComplete`.
    nonisolated let state: ListingState
    private let prefix: ObjectKey
    private let writer: MetadataWriter
    private var pages: ParallelListing
    /// For those who do not wait, too.
    private let extent: Mutex<Extent>
    private var pagesFetched = 0
    private var pagesWanted = 0
    private var pagesAhead = 0
    private var pump: Task<Void, Never>?
    private let news = News()
    private let failed: @Sendable (StoreError) -> Void

    /// Pages that are fetched before anybody asks for them, once somebody reads.
    private static let pagesAheadMax = 4

    struct Extent {
        /// Everything up to and including this segment is in the metadata store; nil before the first page.
        var through: [UInt8]?
        var isComplete = false
        /// Whether an object stands for the directory; nil before the page that tells.
        var hasMarker: Bool?
        var failure: FileError?
    }

    nonisolated var isComplete: Bool { extent.withLock { $0.isComplete } }
    nonisolated var through: [UInt8]? { extent.withLock { $0.through } }
    private nonisolated var failure: FileError? { extent.withLock { $0.failure } }
    nonisolated var hasFailed: Bool { failure != nil }
    nonisolated var hasMarker: Bool? { extent.withLock { $0.hasMarker } }

    /// Goes on with one that was begun.
    init(
        _ begun: BegunListing, store: any ObjectStore, writer: MetadataWriter,
        failed: @escaping @Sendable (StoreError) -> Void
    ) {
        prefix = begun.prefix
        state = begun.state
        extent = Mutex(Extent(through: begun.through))
        pages = ParallelListing(store, ListRequest(prefix: prefix, startAfter: begun.startAfter))
        self.writer = writer
        self.failed = failed
    }

    /// Begins a listing; no request is sent until somebody waits for rows. `failed` is told of the error that ends it.
    static func begin(
        _ prefix: ObjectKey, store: any ObjectStore, writer: MetadataWriter,
        failed: @escaping @Sendable (StoreError) -> Void
    ) async throws(MetadataError) -> DirectoryListing {
        let now = Timestamp.now()
        let number = try await writer.beginListing(prefix, at: now)
        let state = ListingState(listing: number, startedAt: now, listedAt: .epoch)
        return DirectoryListing(
            BegunListing(prefix: prefix, state: state, through: nil), store: store, writer: writer, failed: failed)
    }

    /// Whether the listing has settled which of these segments exist.
    nonisolated func covers(_ segments: [[UInt8]]) -> Bool {
        extent.withLock { extent in
            if extent.isComplete { return true }
            guard extent.failure == nil, let through = extent.through else { return false }
            return segments.allSatisfy { !through.lexicographicallyPrecedes($0) }
        }
    }

    /// Waits until rows after `segment` (nil: the first) are in the metadata store, or the listing is complete.
    func advance(beyond segment: [UInt8]?) async throws(FileError) {
        pagesAhead = Self.pagesAheadMax
        try await reach(beyond: segment)
    }

    /// Waits until the first page is in the metadata store, and has no more fetched than that.
    func begin() async throws(FileError) { try await reach(beyond: nil) }

    private func reach(beyond segment: [UInt8]?) async throws(FileError) {
        pagesWanted = max(pagesWanted, pagesFetched + 1)
        while !isComplete, !isBeyond(segment) {
            if let failure { throw failure }
            if Task.isCancelled { throw .interrupted }
            pagesWanted = max(pagesWanted, pagesFetched + 1)
            startPump()
            await news.wait(after: news.edition)
        }
        startPump()
    }

    private func isBeyond(_ segment: [UInt8]?) -> Bool {
        guard let through else { return false }
        guard let segment else { return true }
        return segment.lexicographicallyPrecedes(through)
    }

    private func startPump() {
        guard pump == nil, !isComplete, failure == nil, pagesFetched < pagesWanted + pagesAhead else { return }
        pump = Task {
            await self.run()
            self.pump = nil
            // Somebody may have asked for more after the last look at what is wanted.
            self.startPump()
        }
    }

    /// Fetches pages while they are wanted. The next page is on its way while the last one is written.
    private func run() async {
        var pages = self.pages
        var writing: Task<Void, any Error>?
        do {
            while pagesFetched < pagesWanted + pagesAhead {
                let ahead = pagesWanted + pagesAhead - pagesFetched - 1
                guard let page = try await pages.next(ahead: ahead) else { break }
                self.pages = pages
                _ = try await writing?.value
                pagesFetched += 1
                writing = Task { try await self.write(page) }
                if page.isLast { break }
            }
            _ = try await writing?.value
        } catch {
            fail(error)
        }
    }

    private func write(_ page: ParallelListing.Page) async throws {
        // Something newer may be known by now.
        let rows = MetadataRow.rows(of: page.page, below: prefix, at: page.askedAt)
        try await writer.record(rows, below: prefix, listing: state.listing)
        extent.withLock { extent in
            // It comes before all that is in the directory; a page may be empty where deleted versions are passed.
            if extent.hasMarker == nil, extent.through == nil, !page.page.isEmpty || page.isLast {
                extent.hasMarker = page.page.objects.first?.key == prefix
            }
            if let last = rows.last?.segment { extent.through = last }
        }
        if page.isLast {
            try await writer.finishListing(prefix, listing: state.listing)
            extent.withLock { $0.isComplete = true }
        }
        news.tell()
    }

    private func fail(_ error: any Error) {
        let cause = error as? StoreError
        failed(cause ?? StoreError(.unavailable, code: "MetadataStore", message: "\(error)"))
        extent.withLock { $0.failure = cause.map { FileError($0) } ?? .io }
        news.tell()
    }
}

extension MetadataRow {
    /// A page's rows in listing order. The marker that stands for the directory itself (its key is the prefix) is
    /// left out, unless it has content that would otherwise be lost.
    static func rows(of page: ListPage, below prefix: ObjectKey, at now: Timestamp) -> [MetadataRow] {
        var rows: [MetadataRow] = []
        rows.reserveCapacity(page.objects.count + page.prefixes.count)
        var prefixes = page.prefixes[...]
        func take(_ key: ObjectKey, _ kind: Kind) {
            guard key.hasPrefix(prefix) else { return }
            rows.append(MetadataRow(segment: Array(key.bytes[prefix.bytes.count...]), kind: kind, checkedAt: now))
        }
        for object in page.objects {
            while let next = prefixes.first, next < object.key {
                take(next, .directory(nil))
                prefixes.removeFirst()
            }
            if object.key == prefix, object.record.sizeBytes == 0 { continue }
            take(object.key, .object(object.record))
        }
        for rest in prefixes { take(rest, .directory(nil)) }
        return rows
    }
}
