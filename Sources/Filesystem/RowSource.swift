internal import Metadata
internal import Synchronization
internal import ThawCore

/// Where the rows of an open directory come from.
protocol EntrySource: Sendable {
    /// The next rows in listing order, perhaps none; nil after the last.
    mutating func next() async throws(FileError) -> [MetadataRow]?
}

/// Rows of a directory in listing order, from a listing that is complete and fresh or from one under way.
struct RowSource: EntrySource {
    let prefix: ObjectKey
    let reader: MetadataReader
    /// Nil when the listing in `state` is complete.
    let listing: DirectoryListing?
    let state: ListingState
    let fail: @Sendable (MetadataError) -> FileError
    private var last: [UInt8]?
    private var isAtEnd = false

    private static let pageRows = 1000

    init(
        prefix: ObjectKey, reader: MetadataReader, listing: DirectoryListing?, state: ListingState,
        fail: @escaping @Sendable (MetadataError) -> FileError
    ) {
        self.prefix = prefix
        self.reader = reader
        self.listing = listing
        self.state = state
        self.fail = fail
    }

    /// Rows that a lookup found ahead of the listing wait for it.
    mutating func next() async throws(FileError) -> [MetadataRow]? {
        if isAtEnd { return nil }
        try await listing?.advance(beyond: last)
        let through = listing?.isComplete ?? true ? nil : listing?.through
        var rows: [MetadataRow]
        do throws(MetadataError) {
            rows = try await reader.page(below: prefix, state: state, after: last, limit: Self.pageRows)
        } catch {
            throw fail(error)
        }
        isAtEnd = through == nil && rows.count < Self.pageRows
        if let through { rows.removeAll { through.lexicographicallyPrecedes($0.segment) } }
        if rows.isEmpty {
            // Everything up to `through` may have been deleted or refreshed meanwhile: look beyond it.
            guard let through else { return nil }
            last = through
            return try await next()
        }
        last = rows.last?.segment
        return rows
    }
}

extension Filesystem {
    /// Where to read the directory's rows from now.
    func entrySource(of directory: Directory) async throws(FileError) -> any EntrySource {
        if directory.view != .objects { return versionRows(of: directory) }
        let (state, listing) = try await listed(directory)
        let rows = RowSource(
            prefix: directory.prefix, reader: reader, listing: listing, state: state
        ) { [self] in failure("listing", directory.prefix, $0) }
        let staged = stagedFiles.rows(in: directory.prefix)
        return staged.isEmpty ? rows : OverlaidRows(rows, staged: staged)
    }

    /// The state that rows of the directory are to be read of, and the listing that they come from, if they are not
    /// all there.
    private func listed(_ directory: Directory) async throws(FileError) -> (ListingState, DirectoryListing?) {
        let state = try await listingState(of: directory)
        if isComplete(state) {
            await walker(passes: directory)
            return (state, nil)
        }
        if listingUnderWay(of: directory) == nil, let state = try await walker(reaches: directory) {
            return (state, nil)
        }
        let listing = try await listing(of: directory)
        return (listing.state, listing)
    }

    /// Whether all rows of a directory in that state are known.
    func isComplete(_ state: ListingState) -> Bool { isFresh(state.listedAt) && state.listedAt == state.startedAt }

    /// The listing under way, or the last one, if it is fresh.
    func listingUnderWay(of directory: Directory) -> DirectoryListing? {
        guard let current = directory.progress.withLock({ $0.listing }), isFresh(current.state.startedAt),
            !current.hasFailed
        else { return nil }
        return current
    }

    /// The listing under way if it is fresh, or a new one.
    func listing(of directory: Directory) async throws(FileError) -> DirectoryListing {
        if let current = listingUnderWay(of: directory) { return current }
        let beginning = directory.progress.withLock { progress in
            if let beginning = progress.beginning { return beginning }
            let beginning = Task { await self.beginListing(of: directory) }
            progress.beginning = beginning
            return beginning
        }
        switch await beginning.value {
        case .success(let begun): return begun
        case .failure(let error): throw failure("listing", directory.prefix, error)
        }
    }

    private func beginListing(of directory: Directory) async -> Result<DirectoryListing, MetadataError> {
        let result: Result<DirectoryListing, MetadataError>
        do throws(MetadataError) {
            result = .success(
                try await DirectoryListing.begin(directory.prefix, store: store, writer: writer) { [self] error in
                    report("listing", directory.prefix, error)
                })
        } catch {
            result = .failure(error)
        }
        directory.progress.withLock { progress in
            progress.beginning = nil
            if case .success(let begun) = result { progress.listing = begun }
        }
        return result
    }
}
