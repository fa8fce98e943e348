internal import Metadata
internal import ObjectStore
internal import ThawCore

/// A listing of everything below a directory, without a delimiter, for somebody who walks through what is there: a page
/// of it tells of many directories, and each that it has passed is listed as a whole.
///
/// It begins at any directory of the tree, tells of those that come after it in the order of their prefixes, which is
/// that of a walk, and keeps ahead of the walker: the further he came with it, the more pages, up to a few. The rows
/// are in the metadata store, none in memory.
actor FlatListing {
    /// How a directory stands that somebody is at.
    enum Standing {
        /// It was listed as a whole, now or earlier.
        case listed
        /// It is long; a listing of its own is to go on from here.
        case begun(BegunListing)
        /// Not listed, nor soon.
        case elsewhere
    }

    /// Pages that are fetched before the walker comes to them, at the most.
    private static let pagesAheadMax = 8
    /// Pages that a walker waits for: the one that is on its way, and another.
    private static let patience = 2

    /// The directory that it begins at.
    private let first: ObjectKey
    private let start: ObjectKey
    private let prefix: ObjectKey
    private let writer: MetadataWriter
    private let failed: @Sendable (StoreError) -> Void
    private var pages: Listing
    private var path: FlatPath
    /// The last key whose page is in the metadata store.
    private var through: ObjectKey?
    private var isComplete = false
    private(set) var hasFailed = false
    /// The last page was of files in the tree's own directory, for the most part.
    private var isAstray = false
    private var isWriting = false
    private var pagesFetched = 0
    private var pagesWritten = 0
    private var pagesWanted = 0
    /// Pages that the walker has left behind, and where those after them end.
    private var pagesPassed = 0
    private var ends: [ObjectKey] = []
    private var pagesAhead = 1
    /// Directories, besides the first, that somebody came to and that were listed.
    private(set) var uses = 0
    private var pump: Task<Void, Never>?
    private let news = News()

    /// Of what is below `prefix`, from the directory `first` on. No request is sent until somebody comes to it.
    init(
        _ prefix: ObjectKey, from first: ObjectKey, store: any ObjectStore, writer: MetadataWriter,
        failed: @escaping @Sendable (StoreError) -> Void
    ) {
        self.prefix = prefix
        self.first = first
        self.writer = writer
        self.failed = failed
        start = first.predecessorOfDirectory
        pages = Listing(store, ListRequest(prefix: prefix, delimiter: nil, startAfter: start))
        path = FlatPath(prefix, after: start)
    }

    // MARK: The walker

    /// Somebody is at a directory that is not listed: waits until it is, but not for long.
    func reach(_ directory: ObjectKey) async throws(FileError) -> Standing {
        leavePages(before: directory)
        let pagesMax = pagesWritten + Self.patience
        while !hasFailed {
            let edition = news.edition
            switch place(of: directory) {
            case .before: return .elsewhere
            case .passed:
                if directory != first { uses += 1 }
                startPump()
                return .listed
            case .inside(let level):
                if isWriting { break }
                guard let level, !path.levels[level].isPassedOver else { return .elsewhere }
                // What is not much longer than a page comes to its end soon.
                if path.levels[level].wholePages >= Self.patience, let begun = begun(level) { return .begun(begun) }
            case .ahead:
                if isAstray || hasLeftOthers(than: directory) || pagesWritten >= pagesMax { return .elsewhere }
            }
            pagesWanted = max(pagesWanted, pagesWritten + 1)
            startPump()
            await news.wait(after: edition)
            if Task.isCancelled { throw .interrupted }
        }
        return .elsewhere
    }

    /// Somebody is at a directory that is listed.
    func pass(_ directory: ObjectKey) {
        switch place(of: directory) {
        case .before, .ahead: return
        case .passed: if directory != first { uses += 1 }
        case .inside: break
        }
        leavePages(before: directory)
        startPump()
    }

    private func leavePages(before directory: ObjectKey) {
        while let end = ends.first, end < directory {
            ends.removeFirst()
            pagesPassed += 1
            pagesAhead = min(pagesAhead * 2, Self.pagesAheadMax)
        }
    }

    private enum Place { case before, passed, inside(Int?), ahead }

    private func place(of directory: ObjectKey) -> Place {
        if directory <= start || !directory.hasPrefix(prefix) { return .before }
        if isComplete { return .passed }
        guard let through else { return .ahead }
        if through.hasPrefix(directory) { return .inside(path.level(of: directory)) }
        return through < directory ? .ahead : .passed
    }

    /// It is inside of a directory that was left to a listing of its own, and that the walker is not in any more.
    private func hasLeftOthers(than directory: ObjectKey) -> Bool {
        path.levels.contains { $0.isLeft && !directory.hasPrefix(path.prefix($0)) }
    }

    private func begun(_ level: Int) -> BegunListing? {
        let left = path.levels[level]
        guard let listing = left.listing else { return nil }
        path.leave(level)
        let state = ListingState(listing: listing, startedAt: left.startedAt, listedAt: .epoch)
        return BegunListing(prefix: path.prefix(left), state: state, through: left.last)
    }

    // MARK: Pages

    private var isWanted: Bool {
        pagesFetched < pagesWanted || !isAstray && pagesFetched < pagesPassed + pagesAhead
    }

    private func startPump() {
        guard pump == nil, !isComplete, !hasFailed, isWanted else { return }
        pump = Task {
            await self.run()
            self.pump = nil
            // Somebody may have come further after the last look at what is wanted.
            self.startPump()
        }
    }

    /// Fetches pages while they are wanted. The next page is on its way while the last one is written.
    private func run() async {
        var pages = self.pages
        var writing: Task<Void, any Error>?
        do {
            while isWanted {
                let asked = Timestamp.now()
                guard let page = try await pages.next() else { break }
                self.pages = pages
                _ = try await writing?.value
                pagesFetched += 1
                let isLast = page.continuationToken == nil
                writing = Task { try await self.write(page.objects, asked: asked, isLast: isLast) }
                if isLast { break }
            }
            _ = try await writing?.value
        } catch {
            hasFailed = true
            failed(error as? StoreError ?? StoreError(.unavailable, code: "MetadataStore", message: "\(error)"))
            news.tell()
        }
    }

    private func write(_ objects: [ListedObject], asked: Timestamp, isLast: Bool) async throws {
        isWriting = true
        defer { isWriting = false }
        path.number(try await writer.record(path.take(objects, isLast: isLast, at: asked), at: asked))
        let ownSlash = prefix.bytes.indices.last
        let own = objects.reversed().prefix { $0.key.bytes.lastIndex(of: UInt8(ascii: "/")) == ownSlash }
        isAstray = own.count * 2 > objects.count
        if let last = objects.last { through = last.key }
        pagesWritten += 1
        ends.append(through ?? start)
        isComplete = isLast
        news.tell()
    }
}

/// A directory's listing that a page without a delimiter began.
struct BegunListing {
    let prefix: ObjectKey
    let state: ListingState
    /// Its rows up to this segment are in the metadata store; nil: there is none before it.
    let through: [UInt8]?

    /// The keys after this one are not told yet.
    var startAfter: ObjectKey? {
        through.map { through in
            // All of a subdirectory was told by its name.
            through.last == UInt8(ascii: "/") ? (prefix + through) + ObjectKey.lastCharacter : prefix + through
        }
    }
}

extension ObjectKey {
    /// Sorts after whatever a key goes on with, as far as that is text.
    static let lastCharacter: [UInt8] = [0xF4, 0x8F, 0xBF, 0xBF]

    /// Of a directory's prefix: a key that sorts before its marker, with as good as nothing in between.
    var predecessorOfDirectory: ObjectKey {
        ObjectKey(bytes.dropLast() + CollectionOfOne(UInt8(ascii: "/") - 1) + Self.lastCharacter)
    }
}
