import ArgumentParser

@main
struct Thawfs: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "thawfs",
        abstract: "Mount object-storage buckets as directories; archived objects thaw when they are read.",
        subcommands: [EmulateCommand.self]
    )
}
