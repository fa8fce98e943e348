internal import ThawCore

/// Somebody who comes to the directories below one, as `find` and `ls -R` do: when it is noticed, and what lists ahead
/// of him.
struct Walk {
    /// Directories one after the other that had to be listed, before it counts as a walk.
    private static let stepsMin = 3
    /// Steps that are further apart are none of a walk.
    private static let stepDuration = Duration.seconds(10)
    /// Places that the listing had to begin anew at, because nobody came to what it told.
    private static let strikesMax = 2

    /// What lists ahead, since it was noticed.
    private(set) var listing: FlatListing?
    private var last = ObjectKey.empty
    private var steps = 0
    private var steppedAt = Timestamp.epoch
    private var stepsNeeded = Walk.stepsMin
    private var strikes = 0

    /// A directory below has to be listed. True if that makes it a walk.
    mutating func steps(to directory: ObjectKey, at now: Timestamp) -> Bool {
        if directory != last { step(at: now) }
        last = directory
        return steps >= stepsNeeded
    }

    /// In the directory that was come to last, all is being walked: whoever comes to the next walks there too.
    mutating func isDeep(at now: Timestamp) { step(at: now) }

    private mutating func step(at now: Timestamp) {
        steps = steppedAt + Self.stepDuration < now ? 1 : steps + 1
        steppedAt = now
    }

    mutating func begin(_ listing: FlatListing) { self.listing = listing }

    /// The listing is of no use where the walker is: another takes its place, unless none was of use.
    mutating func goOn(with listing: FlatListing, wasUsed: Bool) {
        strikes = wasUsed ? 0 : strikes + 1
        if strikes < Self.strikesMax { self.listing = listing } else { giveUp() }
    }

    /// It was no walk.
    mutating func giveUp() {
        listing = nil
        (strikes, steps) = (0, 0)
        stepsNeeded = min(stepsNeeded * 4, 1 << 20)
    }
}
