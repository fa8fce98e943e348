import Glibc
import Logging
import Testing
import ThawCore
import ThawTesting
import Upload

@testable import thawfs

@Suite("where staging files are")
struct StagingLocationTests {
    private let place: TemporaryDirectory
    private let log = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

    init() throws { place = try TemporaryDirectory() }

    /// Opens the area of a mount with this `cache_dir`, and answers where it is.
    private func open(state: String = "state", cache: String, hasPromises: Bool = false) throws -> String {
        let state = "\(place.path)/\(state)"
        mkdir(state, 0o700)
        let options = try MountOptions(optionLists: ["cache_dir=\(place.path)/\(cache)"], environment: [:])
        let area = try StagingLocation(state, options, [:]).open(
            options.cacheLimits(), writesBack: false, hasPromises: hasPromises, log)
        #expect(StagingLocation.current(in: state) == area.directory)
        return area.directory
    }

    @Test("they are below cache_dir, and the state directory knows where")
    func link() throws {
        let path = try open(cache: "one")
        #expect(path.hasPrefix("\(place.path)/one/state-") && path.hasSuffix("/staging"))
        #expect(try open(cache: "one") == path)
    }

    @Test("another cache_dir holds once nothing is left in the one before")
    func moved() throws {
        let first = try open(cache: "one")
        close(creat(first + "/file", 0o600))
        #expect(try open(cache: "two") == first)
        unlink(first + "/file")
        #expect(try open(cache: "two").hasPrefix("\(place.path)/two/"))
        #expect(access(first, F_OK) == -1)
    }

    @Test("what was promised must be where it was left, whatever cache_dir is named")
    func unreachable() throws {
        let first = try open(cache: "one")
        #expect(rename(place.path + "/one", place.path + "/away") == 0)
        for cache in ["one", "two"] {
            let error = #expect(throws: UsageError.self) { try open(cache: cache, hasPromises: true) }
            #expect(error.map { "\($0)" }?.contains(first) == true)
        }
        #expect(rename(place.path + "/away", place.path + "/one") == 0)
        #expect(try open(cache: "one", hasPromises: true) == first)
    }

    @Test("two state directories share no staging directory, also where they have one name")
    func separate() throws {
        mkdir(place.path + "/other", 0o700)
        #expect(try open(cache: "one") != open(state: "other/state", cache: "one"))
    }
}
