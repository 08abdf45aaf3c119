package scenario

// knownOfFake is where the fake is not like an agent.
var knownOfFake = []knownDifference{}
