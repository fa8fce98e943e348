internal import Metadata
internal import ObjectStore
internal import Synchronization
internal import ThawCore

/// A walk through a tree is noticed, and flat listings keep ahead of it: a page tells of a thousand keys, in however
/// many directories they are.
extension Filesystem {
    /// With less, what is listed ahead would be out of date when the walker comes.
    private static let ttlMin = Duration.seconds(5)

    /// Somebody reads a directory that is listed.
    func walker(passes directory: Directory) async {
        await flatListing(above: directory)?.listing.pass(directory.prefix)
    }

    /// Somebody reads a directory that is not listed. If he walks, it may be afterwards, and that is its state; or a
    /// listing of it may be under way.
    func walker(reaches directory: Directory) async throws(FileError) -> ListingState? {
        guard mayListAhead else { return nil }
        if let (top, listing) = flatListing(above: directory) {
            if case .settled(let state) = try await settle(directory, by: listing) { return state }
            // It may have been left to a listing of its own for another reader.
            guard listingUnderWay(of: directory) == nil,
                let next = await listingGoingOn(from: listing, at: directory, in: top),
                case .settled(let state) = try await settle(directory, by: next)
            else { return nil }
            return state
        }
        guard let listing = flatListing(beginningAt: directory),
            case .settled(let state) = try await settle(directory, by: listing)
        else { return nil }
        return state
    }

    private var mayListAhead: Bool { configuration.metadataTTL.map { $0 >= Self.ttlMin } ?? true }

    /// That of the highest directory that is walked through.
    private func flatListing(above directory: Directory) -> (top: Directory, listing: FlatListing)? {
        var found: (Directory, FlatListing)?
        var above = directory.parent
        while let current = above {
            if let listing = current.progress.withLock({ $0.walk.listing }) { found = (current, listing) }
            above = current.parent
        }
        return found
    }

    /// One that begins here, if it makes a walk that somebody comes here.
    private func flatListing(beginningAt directory: Directory) -> FlatListing? {
        guard let top = directory.parent, top.view == .objects,
            // A listing stays in its bucket.
            !(store.hasFixedTopLevel && top.prefix.isEmpty)
        else { return nil }
        let now = Timestamp.now()
        let listing = top.progress.withLock { progress -> FlatListing? in
            guard progress.walk.listing == nil, progress.walk.steps(to: directory.prefix, at: now) else { return nil }
            let listing = flatListing(of: top, from: directory)
            progress.walk.begin(listing)
            return listing
        }
        if listing != nil { top.parent?.progress.withLock { $0.walk.isDeep(at: now) } }
        return listing
    }

    private func flatListing(of top: Directory, from directory: Directory) -> FlatListing {
        FlatListing(top.prefix, from: directory.prefix, store: store, writer: writer) { [self] error in
            report("listing the tree of", top.prefix, error)
        }
    }

    /// The walk goes on elsewhere than the listing does.
    private func listingGoingOn(
        from listing: FlatListing, at directory: Directory, in top: Directory
    ) async -> FlatListing? {
        let (hasFailed, uses) = (await listing.hasFailed, await listing.uses)
        let next = flatListing(of: top, from: directory)
        return top.progress.withLock { progress in
            // Another reader may have been here in between.
            guard progress.walk.listing === listing else { return progress.walk.listing }
            if hasFailed { progress.walk.giveUp() } else { progress.walk.goOn(with: next, wasUsed: uses > 0) }
            return progress.walk.listing
        }
    }

    private enum Outcome {
        /// It is listed as a whole, in that state, or a listing of its own is under way.
        case settled(ListingState?)
        case unknown
    }

    private func settle(_ directory: Directory, by flat: FlatListing) async throws(FileError) -> Outcome {
        switch try await flat.reach(directory.prefix) {
        case .listed:
            // That may be out of date.
            let state = try await listingState(of: directory)
            return isComplete(state) ? .settled(state) : .unknown
        case .elsewhere: return .unknown
        case .begun(let begun):
            let listing = DirectoryListing(begun, store: store, writer: writer) { [self] error in
                report("listing", directory.prefix, error)
            }
            directory.progress.withLock { $0.listing = listing }
            return .settled(nil)
        }
    }
}
