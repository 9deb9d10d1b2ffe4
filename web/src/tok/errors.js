// What is wrong with a file, in one line.

export class TokError extends Error {
  /**
   * @param {string} message
   * @param {number | null} block the number of the damaged block, from 0
   */
  constructor(message, block = null) {
    super(message);
    this.name = "TokError";
    this.block = block;
  }
}
