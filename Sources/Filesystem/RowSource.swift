internal import Metadata
internal import Synchronization
internal import ThawCore

/// Rows of a directory in listing order, from a listing that is complete and fresh or from one under way.
struct RowSource: Sendable {
    let prefix: ObjectKey
    let reader: MetadataReader
    /// Nil when the listing in `state` is complete.
    let listing: DirectoryListing?
    let state: ListingState
    let fail: @Sendable (MetadataError) -> FileError

    private static let pageRows = 1000

    /// The next rows after `segment`, or nil after the last. Rows that a lookup found ahead of the listing wait for it.
    func next(after segment: [UInt8]?) async throws(FileError) -> [MetadataRow]? {
        try await listing?.advance(beyond: segment)
        let through = await listing?.isComplete ?? true ? nil : await listing?.through
        var rows: [MetadataRow]
        do throws(MetadataError) {
            rows = try await reader.page(below: prefix, state: state, after: segment, limit: Self.pageRows)
        } catch {
            throw fail(error)
        }
        if let through { rows.removeAll { through.lexicographicallyPrecedes($0.segment) } }
        if rows.isEmpty {
            // Everything up to `through` may have been deleted or refreshed meanwhile: look beyond it.
            guard let through else { return nil }
            return try await next(after: through)
        }
        return rows
    }
}

extension Filesystem {
    /// Where to read the directory's rows from now.
    func rowSource(of directory: Directory) async throws(FileError) -> RowSource {
        let state: ListingState
        do throws(MetadataError) {
            state = try await reader.state(of: directory.prefix)
        } catch {
            throw failure("listing", directory.prefix, error)
        }
        let isComplete = isFresh(state.listedAt) && state.listedAt == state.startedAt
        let listing = isComplete ? nil : try await listing(of: directory)
        return RowSource(prefix: directory.prefix, reader: reader, listing: listing, state: listing?.state ?? state) {
            [self] in failure("listing", directory.prefix, $0)
        }
    }

    /// The listing under way if it is fresh, or a new one.
    func listing(of directory: Directory) async throws(FileError) -> DirectoryListing {
        if let current = directory.progress.withLock({ $0.listing }), isFresh(current.state.startedAt),
            await !current.hasFailed
        {
            return current
        }
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
